"""The command line's parser: jsonargparse makes it from functions' signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from docstring_parser import parse
from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

from moditalker.errors import SettingsError

Command = Callable[..., None]
POSITIONAL = {"Sequence[Path]": Path, "Sequence[str]": str}
DETAILS = re.compile(r" ?\((required)?(?:, )?(?:type: .*?)?(?:, )?(default: [^()]*)?\)$", re.DOTALL)
NO_NEWS = ("default: null", "default: False")


class HelpFormatter(DefaultHelpFormatter):
    """Shows defaults where there are any, and no types: the words of the help say what is meant."""

    def _expand_help(self, action: Any) -> str:
        text = DETAILS.sub(kept_details, super()._expand_help(action))
        return text.removesuffix(" (required)") if action.nargs == "*" else text


def kept_details(match: re.Match[str]) -> str:
    """What the help says after an option's text."""
    kept = [part for part in match.groups() if part and part not in NO_NEWS]
    return f" ({', '.join(kept)})" if kept else ""


class Parser(ArgumentParser):
    """Options with dashes, flags for booleans, and errors as exceptions of one line."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, formatter_class=HelpFormatter, allow_abbrev=False, **options)

    def add_argument(self, *names: Any, **options: Any) -> Any:
        """As in argparse."""
        if options.get("type") is bool:
            del options["type"]
            flag = ActionYesNo(no_prefix="no-") if options.get("default") else "store_true"
            options["action"] = flag
        dashed = (name.replace("_", "-") if name.startswith("--") else name for name in names)
        return super().add_argument(*dashed, **options)

    def add_command(self, command: Command) -> None:
        """Options for a function's parameters; its sequences are words without an option."""
        words = {
            name: parameter
            for name, parameter in inspect.signature(command).parameters.items()
            if parameter.annotation in POSITIONAL
        }
        self.add_function_arguments(command, as_group=False, skip=set(words))
        helps = {part.arg_name: part.description for part in parse(command.__doc__ or "").params}
        for name, parameter in words.items():
            self.add_argument(
                name, help=helps[name], type=POSITIONAL[parameter.annotation],
                nargs="+" if parameter.default is parameter.empty else "*",
            )  # fmt: skip

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """SettingsError instead of usage and exit."""
        raise SettingsError(readable(message)) from ex


def make_parser(commands: Mapping[str, Command], *, name: str, about: str, version: str) -> Parser:
    """A parser with one part for each command."""
    parser = Parser(name, description=about, version=version)
    parser.add_argument("--debug", action="store_true", help="show where a fault occurred")
    parts = parser.add_subcommands(metavar="COMMAND", dest="command")
    for word, command in commands.items():
        described = parse(command.__doc__ or "")
        about = described.short_description or ""
        part = Parser(description=f"{about} {described.long_description or ''}")
        part.add_command(command)
        parts.add_subcommand(word, part, help=about)
    return parser


def readable(message: str) -> str:
    """An error of the parser in one line that names options as the user writes them."""
    wrong = re.match(r'Parser key "(?:\w+\.)?(\w+)":.*?Expected an? (.*?)\. Got value: ([^\n]*)',
                     message, re.DOTALL)  # fmt: skip
    if wrong:
        key, kind, value = wrong.groups()
        return f"--{key.replace('_', '-')} is '{value}'; it must be {named(kind)}."
    missing = re.fullmatch(r"the following arguments are required: (.*)", message)
    if missing:
        words = [word.rpartition(".")[2].replace("_", "-") for word in missing[1].split(", ")]
        return f"--{', --'.join(words)} is missing. See --help."
    if message.startswith('expected "command"'):
        return f"give a command: {message[message.find('{') + 1 : message.find('}')]}. See --help."
    return f"{' '.join(message.split())}. See --help."


def named(kind: str) -> str:
    """A type in words."""
    choices = re.search(r"Literal\[(.*)\]", kind)
    if choices:
        return f"one of {choices[1]}".replace("'", "")
    return {"int": "a whole number", "float": "a number"}.get(kind[8:-2], kind)
