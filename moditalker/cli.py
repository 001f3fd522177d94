"""The command `moditalker`: one dictionary from names to functions; parsers come from signatures.

Nothing heavy is imported before a command runs, so that --help answers at once.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moditalker import __version__
from moditalker.errors import MoDiTalkerError

if TYPE_CHECKING:
    from moditalker.pipeline import Result

INTERRUPTED = 130
OVERRIDE = re.compile(r"[A-Za-z_+~][\w.]*=.*", re.DOTALL)


def generate(
    audio: Path,
    video: Path | None = None,
    image: Path | None = None,
    out: Path = Path("out.mp4"),
    seed: int = 0,
    steps: int | None = None,
    device: str = "auto",
    preset: str = "lite",
    weights: Path | None = None,
    crop_only: bool = False,
    extend: str = "pingpong",
    face: str = "single",
    face_backend: str = "mediapipe",
    motion: Path | None = None,
    init: Path | None = None,
    lip_scale: float = 1.0,
    smooth: float = 0.0,
    silence_gate: bool = True,
    quiet: bool = False,
    json: bool = False,
    overrides: Sequence[str] = (),
) -> None:
    """Make a video of the person in a reference saying what is in a sound file.

    The result is labelled as synthetic in its metadata. Ask the person shown for consent.

    Args:
        audio: sound file, or a video with sound.
        video: reference video of the person.
        image: reference picture, instead of a video.
        out: the .mp4 to write.
        seed: the same seed gives the same video on a machine.
        steps: network evaluations per clip of the video stage (12).
        device: auto, cuda, mps or cpu.
        preset: lite, debug (random weights) or paper (needs --weights).
        weights: folder with a bundle of weights.
        crop_only: write the generated face crop instead of the whole frame.
        extend: reference shorter than the sound: pingpong, loop, freeze or error.
        face: which face, if there are several: single, largest, left, right, or a number.
        face_backend: mediapipe or face-alignment.
        motion: frontal motion file to use instead of drawing one.
        init: landmark file to start from instead of the reference's closed mouth.
        lip_scale: how far lips and jaw move; 1 changes nothing.
        smooth: smoothing of the motion in seconds; 0 changes nothing.
        silence_gate: close the mouth where nobody speaks.
        quiet: no progress.
        json: one line of JSON on standard output at the end.
    """
    from moditalker.pipeline import Controls, MoDiTalker
    from moditalker.progress import Progress

    progress = Progress(quiet)
    with progress.stage("load"):
        model = MoDiTalker.from_pretrained(preset, weights=weights, device=device)
    result = model.generate(
        audio, video, image, out, seed=seed, steps=steps, crop_only=crop_only, extend_by=extend,
        face=face, face_backend=face_backend, motion=motion, init=init,
        controls=Controls(lip_scale, smooth, silence_gate), overrides=overrides, progress=progress,
    )  # fmt: skip
    report(result, quiet, json)


def landmarks(
    audio: Path,
    video: Path | None = None,
    image: Path | None = None,
    landmarks: Path | None = None,
    out: Path = Path("motion.npz"),
    space: str = "frontal",
    seed: int = 0,
    device: str = "auto",
    preset: str = "lite",
    weights: Path | None = None,
    extend: str = "pingpong",
    face: str = "single",
    face_backend: str = "mediapipe",
    init: Path | None = None,
    lip_scale: float = 1.0,
    smooth: float = 0.0,
    silence_gate: bool = True,
    quiet: bool = False,
    json: bool = False,
    overrides: Sequence[str] = (),
) -> None:
    """Draw the motion of a face's 68 landmarks from a sound file, for rigs and for editing.

    Args:
        audio: sound file, or a video with sound.
        video: reference video of the person.
        image: reference picture, instead of a video.
        landmarks: landmark file in pixels, instead of both: no face detector is used.
        out: .npz, .csv or .json; or .mp4, a preview with the sound.
        space: frontal (25 frames a second) or image (the reference's pose, size and times).
        seed: the same seed gives the same motion on a machine.
        device: auto, cuda, mps or cpu.
        preset: lite, debug (random weights) or paper (needs --weights).
        weights: folder with a bundle of weights.
        extend: reference shorter than the sound: pingpong, loop, freeze or error.
        face: which face, if there are several: single, largest, left, right, or a number.
        face_backend: mediapipe or face-alignment.
        init: landmark file to start from instead of the reference's closed mouth.
        lip_scale: how far lips and jaw move; 1 changes nothing.
        smooth: smoothing of the motion in seconds; 0 changes nothing.
        silence_gate: close the mouth where nobody speaks.
        quiet: no progress.
        json: one line of JSON on standard output at the end.
    """
    from moditalker.pipeline import Controls, MoDiTalker
    from moditalker.progress import Progress

    progress = Progress(quiet)
    with progress.stage("load"):
        model = MoDiTalker.from_pretrained(preset, weights=weights, device=device)
    result = model.landmarks(
        audio, video, image, landmarks, out, space=space, seed=seed, extend_by=extend, face=face,
        face_backend=face_backend, init=init, controls=Controls(lip_scale, smooth, silence_gate),
        overrides=overrides, progress=progress,
    )  # fmt: skip
    report(result, quiet, json)


def prepare(
    videos: Sequence[Path],
    out: Path,
    speech_encoder: str = "whisper-tiny.en",
    workers: int = 2,
    engine: str = "process",
    face: str = "largest",
    quiet: bool = False,
) -> None:
    """Turn raw videos into a data set for training; goes on where it was stopped.

    Args:
        videos: video files, or folders that are searched (HDTF and LRS3 layouts too).
        out: the data set folder.
        speech_encoder: whisper-tiny.en, or a HuBERT: hub id or folder.
        workers: processes on this machine.
        engine: process, or ray for several machines (extra `scale`).
        face: which face, if there are several: single, largest, left or right.
        quiet: no progress.
    """
    from moditalker.prepare import prepare as run

    run(videos, out, speech_encoder=speech_encoder, workers=workers, engine=engine, face=face,
        quiet=quiet)  # fmt: skip


COMMANDS: dict[str, Callable[..., None]] = {
    "generate": generate,
    "landmarks": landmarks,
    "prepare": prepare,
}


def report(result: Result, quiet: bool, as_json: bool) -> None:
    """The end of a command: one line of JSON, or where the result is."""
    if as_json:
        print(json.dumps(result.as_dict()))
    elif not quiet:
        print(result.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: done, 2: a mistake that the message says how to mend, 1: a fault."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    words, overrides = split_overrides([word for word in arguments if word != "--debug"])
    parser = make_parser()
    options = vars(parser.parse_args(words))
    command = COMMANDS[options.pop("command")]
    if "overrides" in inspect.signature(command).parameters:
        options["overrides"] = overrides
    elif overrides:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    try:
        command(**options)
    except MoDiTalkerError as error:
        return failed(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return failed("interrupted.", INTERRUPTED, debug=False)
    except Exception as error:
        hint = "" if debug else " This is a fault of the program; --debug shows where."
        return failed(f"{type(error).__name__}: {error}.{hint}", 1, debug)
    return 0


def failed(message: str, code: int, debug: bool) -> int:
    """One line on standard error, with the traceback before it on demand."""
    if debug:
        traceback.print_exc()
    print(f"moditalker: {' '.join(message.split())}", file=sys.stderr)
    return code


def split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Options, and trailing key=value words."""
    end = len(arguments)
    while end > 1 and OVERRIDE.fullmatch(arguments[end - 1]) and not takes_value(arguments[end - 2]):
        end -= 1
    return arguments[:end], arguments[end:]


def takes_value(word: str) -> bool:
    """Whether `word` is an option that the next word belongs to."""
    if not word.startswith("--") or "=" in word:
        return False
    name = word.removeprefix("--").removeprefix("no-").replace("-", "_")
    parameters = [inspect.signature(command).parameters.get(name) for command in COMMANDS.values()]
    return any(p is not None and p.annotation != "bool" for p in parameters)


def make_parser() -> argparse.ArgumentParser:
    """A parser with one part for each command."""
    about = "From a sound and a reference video to a video of that person saying it."
    parser = argparse.ArgumentParser("moditalker", description=about)
    parser.add_argument("--version", action="version", version=f"moditalker {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        about, helps = documented(function)
        part = commands.add_parser(
            name, help=about.splitlines()[0], description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name != "overrides":
                add_option(part, parameter, helps[parameter.name])
        if "overrides" in inspect.signature(function).parameters:
            part.epilog = "Trailing key=value changes any setting, such as mtov.steps=8."
    return parser


def documented(function: Callable[..., None]) -> tuple[str, dict[str, str]]:
    """What a docstring says of a function, and of each parameter."""
    about, _, arguments = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:\n")
    pairs = (line.strip().partition(": ") for line in arguments.splitlines())
    return about.strip(), {name: text for name, _, text in pairs}


def add_option(
    parser: argparse.ArgumentParser, parameter: inspect.Parameter, text: str
) -> None:
    """One option for one parameter: its name, type and default come from the signature."""
    name, kind = parameter.name.replace("_", "-"), str(parameter.annotation)
    required = parameter.default is parameter.empty
    shown = parameter.default if not required else None
    if kind == "bool":
        action = argparse.BooleanOptionalAction if shown else "store_true"
        parser.add_argument(f"--{name}", action=action, default=shown, help=text)
        return
    help_text = text if shown in (None, ()) else f"{text} (default: {shown})"
    types: dict[str, Any] = {"int": int, "float": float, "Path": Path, "str": str}
    convert = types[kind.removeprefix("Sequence[").split("]")[0].split(" ")[0]]
    if kind.startswith("Sequence"):
        parser.add_argument(name, nargs="+", type=convert, metavar=name.upper(), help=text)
        return
    parser.add_argument(
        f"--{name}", type=convert, default=shown, required=required, help=help_text,
        metavar=kind.split(" ")[0].upper() if kind != "str" else None,
    )  # fmt: skip


