"""The command line's parser, made by jsonargparse from the signatures and docstrings of functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

from moditalker.errors import SettingsError

Command = Callable[..., None]


class HelpFormatter(DefaultHelpFormatter):
    """Shows defaults, and leaves out types: the words of the help say what is meant."""

    def _expand_help(self, action: Any) -> str:
        text = super()._expand_help(action)
        text = re.sub(r"\((required, )?type: (?:[^()]|\([^()]*\))*?(, default: [^()]*)?\)$", "(\\1\\2)", text)
        return re.sub(r" ?\((?:, default: null)?\)$", "", text).replace("(, ", "(").replace(", )", ")")


class Parser(ArgumentParser):
    """Options with dashes, flags for booleans, and errors of one line."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, formatter_class=HelpFormatter, allow_abbrev=False, **options)

    def add_argument(self, *names: Any, **options: Any) -> Any:
        """As in argparse; sequences are positional: `VIDEOS...`, or trailing `key=value`."""
        kind = options.get("type")
        if kind is bool:
            del options["type"]
            options["action"] = ActionYesNo(no_prefix="no-")
        if getattr(kind, "__origin__", None) is Sequence:
            required = options.pop("required", False)
            names = (names[0].lstrip("-"),)
            options |= {"type": kind.__args__[0], "nargs": "+" if required else "*"}
        dashed = (name.replace("_", "-") if name.startswith("-") else name for name in names)
        return super().add_argument(*dashed, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """SettingsError instead of usage and exit."""
        raise SettingsError(readable(message)) from ex


def make_parser(
    commands: Mapping[str, Command], *, name: str, about: str, version: str
) -> Parser:
    """A parser with one part for each command."""
    parser = Parser(name, description=about, version=f"{name} {version}")
    parser.add_argument("--debug", action="store_true", help="show where a fault occurred")
    parts = parser.add_subcommands(metavar="COMMAND", dest="command")
    for command, function in commands.items():
        about = (function.__doc__ or "").partition("\nArgs:")[0].partition("\n    Args:")[0]
        part = Parser(description=about)
        part.add_function_arguments(function, as_group=False)
        parts.add_subcommand(command, part, help=about.splitlines()[0])
    return parser


def readable(message: str) -> str:
    """An error of the parser in words that name the option as the user wrote it."""
    return message
