"""`python -m atom` and `python -m mtov`: fit, validate, test, sweep and export."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moditalker.errors import MissingExtraError, MoDiTalkerError, SettingsError
from moditalker.training.configs import compose_config, sort_words, sweep_points

USAGE = """usage: python -m {name} COMMAND -c CONFIG.yaml [key=value ...] [--option value ...]

  fit       train; goes on from the last checkpoint of the run's folder (--fresh: does not)
  validate  figures on the people kept out of training
  test      figures on the test folders
  sweep     fit once for each combination: key=1,2,3
  export    --checkpoint FILE --bundle FOLDER: the averaged weights as safetensors

Keys are those of the YAML, such as data.batch_size=8, trainer.max_time=00:02:00:00, run=runs/mine.
fit --help lists those of the trainer, fit --model.help CLASS and --data.help CLASS the others."""


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: done, 2: a mistake that the message says how to mend."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command not in ("fit", "validate", "test", "sweep", "export"):
        print(USAGE.format(name=name))
        return 0 if command in ("-h", "--help") else 2
    try:
        run_command(command, arguments[1:])
    except MoDiTalkerError as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


def run_command(command: str, arguments: list[str]) -> None:
    """One command with the arguments after it."""
    if command == "export":
        path = export(*export_options(arguments))
        print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")
    elif any(word in ("-h", "--help") or word.endswith(".help") for word in arguments):
        run_lightning(["fit" if command == "sweep" else command, *arguments])
    else:
        words = sort_words(arguments)
        points = sweep_points(words.overrides) if command == "sweep" else [words.overrides]
        subcommand = "fit" if command == "sweep" else command
        for point in points:
            values = compose_config(words, point)
            run_lightning({"subcommand": subcommand, subcommand: values})


def run_lightning(arguments: list[str] | dict[str, Any]) -> None:
    """Hand over to Lightning's CLI, which checks every key. Raises SettingsError."""
    try:
        from jsonargparse import ArgumentError

        from moditalker.training.lightning import run_cli
    except ImportError as error:  # the base install does not train
        raise MissingExtraError(error.name or "pytorch-lightning", "train") from error
    try:
        run_cli(arguments)
    except ArgumentError as error:
        raise SettingsError(gist(str(error))) from error


def gist(message: str) -> str:
    """What is wrong, out of jsonargparse's list of all the types that it tried."""
    _, found, rest = message.partition("Problem with given class_path ")
    return re.split(r"\n\s*- Expected", rest)[0] if found else message


def export_options(arguments: list[str]) -> tuple[str, str]:
    """The checkpoint and the bundle that `export` is given."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) != 4 or set(options) != {"--checkpoint", "--bundle"}:
        raise SettingsError("export takes --checkpoint FILE --bundle FOLDER.")
    return options["--checkpoint"], options["--bundle"]


def export(checkpoint: str | Path, bundle: str | Path) -> Path:
    """Put the averaged weights of a checkpoint into a bundle. Returns the safetensors file.

    The checkpoint's entry `export` (each module's on_save_checkpoint) says where they belong.
    """
    import torch

    from moditalker.bundle import save_network

    path = Path(checkpoint)
    if not path.is_file():
        raise SettingsError(f"no checkpoint at {path}.")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if "export" not in content:
        raise SettingsError(f"{path} was not made by fit of this project.")
    note, state = content["export"], content["state_dict"]
    prefix = note["prefix"]
    kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    training = {"steps": int(content["global_step"])}
    more = {**note["more"], f"{note['name']}_training": training}
    return save_network(bundle, note["name"], kept, note["section"], **more)
