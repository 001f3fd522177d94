"""YAML files, Hydra's overrides and sweeps: from words of the command line to plain values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from moditalker.errors import SettingsError

OVERRIDE = re.compile(r"(?:\+\+?|~)?[A-Za-z_][\w.]*=.*|~[A-Za-z_][\w.]*", re.DOTALL)


@dataclass
class Words:
    """The words after a command, sorted."""

    config: Path | None = None
    overrides: list[str] = field(default_factory=list)
    "Hydra's key=value."
    options: list[tuple[str, str]] = field(default_factory=list)
    "jsonargparse's --key value, the value as YAML."


def sort_words(words: list[str]) -> Words:
    """Sort the words. Raises SettingsError for one that is neither, and for a missing config."""
    found, rest = Words(), list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-c", "--config") and rest:
            found.config = Path(rest.pop(0))
        elif word.startswith("--"):
            key, equals, value = word.removeprefix("--").partition("=")
            found.options.append((key, value if equals else take_value(key, rest)))
        elif OVERRIDE.fullmatch(word):
            found.overrides.append(word)
        else:
            raise SettingsError(f"'{word}' is neither an --option nor key=value.")
    if found.config is None or not found.config.is_file():
        raise SettingsError(f"no config at {found.config}. Name one: -c configs/atom/lite.yaml.")
    return found


def take_value(key: str, rest: list[str]) -> str:
    """The value that follows an option; `--fresh` alone means true."""
    if rest and not rest[0].startswith("--") and not (key == "fresh" and "=" in rest[0]):
        return rest.pop(0)
    if key == "fresh":
        return "true"
    raise SettingsError(f"--{key} needs a value.")


def sweep_points(overrides: list[str]) -> Iterator[list[str]]:
    """All combinations of overrides such as key=1,2 or key=range(1,4), by Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise SettingsError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error
    choices = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [one.input_line or ""]
        for one in parsed
    ]
    return (list(point) for point in product(*choices))


def compose_config(words: Words, overrides: list[str]) -> dict[str, Any]:
    """The YAML under Hydra's overrides and the options, as plain values. Raises SettingsError."""
    assert words.config is not None
    values = hydra_values(words.config, [forced(override) for override in overrides])
    values.setdefault("run", run_folder(words.config, overrides))
    for key, text in words.options:
        place(values, in_full(key), text)
    return values


def hydra_values(config: Path, overrides: list[str]) -> dict[str, Any]:
    """Compose one YAML file with Hydra."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(config.resolve().parent), version_base=None):
            composed = compose(config.name, overrides)
            return OmegaConf.to_container(composed, resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise SettingsError(f"{' '.join(overrides)}: {reason}") from error


def forced(override: str) -> str:
    """Hydra may set keys that the YAML leaves out; jsonargparse knows all that there are."""
    if override.startswith("~"):
        return "~" + in_full(override[1:])
    return "++" + in_full(override.lstrip("+"))


def in_full(key: str) -> str:
    """`model.x` and `data.x` name what Lightning's YAML calls `model.init_args.x`."""
    head, dot, rest = key.partition(".")
    plain = rest.partition("=")[0].split(".")[0] in ("class_path", "init_args")
    return key if head not in ("model", "data") or not dot or plain else f"{head}.init_args.{rest}"


def place(values: dict[str, Any], key: str, text: str) -> None:
    """Put a value, given as YAML text, at a dotted key."""
    import yaml

    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"--{key} {text}: {' '.join(str(error).split())}") from error


def run_folder(config: Path, overrides: list[str]) -> str:
    """`runs/atom/lite` for configs/atom/lite.yaml; overrides that were swept are appended."""
    parts = config.resolve().with_suffix("").parts
    after = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    return "/".join(["runs", *after, *(override.replace("/", "-") for override in overrides)])
