"""The command `moditalker`: one dictionary from names to functions; parsers come from signatures.

Nothing heavy is imported before a command runs, so that --help answers at once.
"""

from __future__ import annotations

import json as encoder
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from moditalker import __version__
from moditalker.errors import MoDiTalkerError
from moditalker.parsing import Command, make_parser

if TYPE_CHECKING:
    from moditalker.result import Result

FAULT, INTERRUPTED = 1, 130
ABOUT = "From a sound and a reference video to a video of that person saying it."
Device = Literal["auto", "cuda", "mps", "cpu"]
Preset = Literal["lite", "paper", "debug"]
Extend = Literal["pingpong", "loop", "freeze", "error"]
Backend = Literal["mediapipe", "face-alignment"]


def generate(
    audio: Path,
    video: Path | None = None,
    image: Path | None = None,
    out: Path = Path("out.mp4"),
    seed: int = 0,
    steps: int | None = None,
    device: Device = "auto",
    preset: Preset | None = None,
    weights: Path | None = None,
    crop_only: bool = False,
    extend: Extend = "pingpong",
    face: str = "largest",
    face_backend: Backend = "mediapipe",
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
        steps: network evaluations per clip of the video stage, 12 if not given.
        device: auto, cuda, mps or cpu.
        preset: lite (if not given), paper (needs --weights) or debug (random weights).
        weights: folder with a bundle of weights.
        crop_only: write the generated face crop instead of the whole frame.
        extend: where the reference is shorter than the sound: pingpong, loop, freeze or error.
        face: which face, if there are several: largest, left, right, a number from the left, or
            single, for which several are an error.
        face_backend: mediapipe or face-alignment.
        motion: frontal motion file to use instead of drawing motion from the sound.
        init: landmark file to start from instead of the reference's closed mouth.
        lip_scale: how far lips and jaw move; 1 changes nothing.
        smooth: smoothing of the motion in seconds; 0 changes nothing.
        silence_gate: close the mouth where nobody speaks.
        quiet: show no progress.
        json: print one line of JSON on standard output at the end.
        overrides: further settings, such as mtov.steps=8 or atom.guidance=1.5.
    """
    from moditalker.progress import Progress

    progress = Progress(quiet)
    with progress.stage("load"):
        from moditalker.pipeline import MoDiTalker

        model = MoDiTalker.from_pretrained(preset, weights=weights, device=device)
    result = model.generate(
        audio, video, image, out, seed=seed, steps=steps, crop_only=crop_only, extend=extend,
        face=face, face_backend=face_backend, motion=motion, init=init, lip_scale=lip_scale,
        smooth=smooth, silence_gate=silence_gate, overrides=overrides, progress=progress,
    )  # fmt: skip
    report(result, quiet, json)


def landmarks(
    audio: Path,
    video: Path | None = None,
    image: Path | None = None,
    landmarks: Path | None = None,
    out: Path = Path("motion.npz"),
    space: Literal["frontal", "image"] = "frontal",
    seed: int = 0,
    device: Device = "auto",
    preset: Preset | None = None,
    weights: Path | None = None,
    extend: Extend = "pingpong",
    face: str = "largest",
    face_backend: Backend = "mediapipe",
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
        landmarks: landmark file in pixels, instead of both; no face detector is used.
        out: .npz, .csv or .json; or .mp4, a preview with the sound.
        space: frontal (25 frames a second), or image (the reference's pose, size and times).
        seed: the same seed gives the same motion on a machine.
        device: auto, cuda, mps or cpu.
        preset: lite (if not given), paper (needs --weights) or debug (random weights).
        weights: folder with a bundle of weights.
        extend: where the reference is shorter than the sound: pingpong, loop, freeze or error.
        face: which face, if there are several: largest, left, right, a number from the left, or
            single, for which several are an error.
        face_backend: mediapipe or face-alignment.
        init: landmark file to start from instead of the reference's closed mouth.
        lip_scale: how far lips and jaw move; 1 changes nothing.
        smooth: smoothing of the motion in seconds; 0 changes nothing.
        silence_gate: close the mouth where nobody speaks.
        quiet: show no progress.
        json: print one line of JSON on standard output at the end.
        overrides: further settings, such as atom.steps=20 or atom.guidance=1.5.
    """
    from moditalker.progress import Progress

    progress = Progress(quiet)
    with progress.stage("load"):
        from moditalker.pipeline import MoDiTalker

        model = MoDiTalker.from_pretrained(preset, weights=weights, device=device)
    result = model.landmarks(
        audio, video, image, landmarks, out, space=space, seed=seed, extend=extend, face=face,
        face_backend=face_backend, init=init, lip_scale=lip_scale, smooth=smooth,
        silence_gate=silence_gate, overrides=overrides, progress=progress,
    )  # fmt: skip
    report(result, quiet, json)


def prepare(
    videos: Sequence[Path],
    out: Path,
    speech_encoder: str = "whisper-tiny.en",
    workers: int = 2,
    engine: Literal["process", "ray"] = "process",
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
        face: which face, if there are several: largest, left, right, or single (leave such out).
        quiet: show no progress.
    """
    from moditalker.prepare import prepare as run

    run(videos, out, speech_encoder=speech_encoder, workers=workers, engine=engine, face=face,
        quiet=quiet)  # fmt: skip


COMMANDS: dict[str, Command] = {
    "generate": generate,
    "landmarks": landmarks,
    "prepare": prepare,
}


def report(result: Result, quiet: bool, json: bool) -> None:
    """The end of a command: one line of JSON, or where the result is."""
    if json:
        print(encoder.dumps(result.as_dict()))
    elif not quiet:
        print(result.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: done, 2: a mistake that the message says how to mend, 1: a fault."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        run([word for word in words if word != "--debug"])
    except MoDiTalkerError as error:
        return failed(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return failed("interrupted.", INTERRUPTED, debug)
    except Exception as error:
        hint = "" if debug else " This is a fault of the program; --debug shows where."
        return failed(f"{type(error).__name__}: {error}.{hint}", FAULT, debug)
    return 0


def run(words: list[str]) -> None:
    """Call the function that a command line names."""
    parser = make_parser(COMMANDS, name="moditalker", about=ABOUT, version=__version__)
    options = parser.parse_args(words)
    COMMANDS[options.command](**options[options.command].as_dict())


def failed(message: str, code: int, debug: bool) -> int:
    """One line on standard error, after the traceback on demand."""
    if debug:
        traceback.print_exc()
    print(f"moditalker: {' '.join(message.split())}", file=sys.stderr)
    return code
