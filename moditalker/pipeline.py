"""MoDiTalker from end to end: sound and a reference to motion, and motion to video."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atom.sampling import generate_motion
from moditalker.errors import SettingsError
from moditalker.media import SYNTHETIC_METADATA, Audio, FrameSource, read_audio, write_video
from moditalker.motion import Motion, close_when_silent, scale_lips, smooth
from moditalker.presets import Networks, load_networks
from moditalker.preview import preview_frames
from moditalker.progress import Progress
from moditalker.reference import (
    Reference,
    initial_from,
    landmark_reference,
    read_reference,
    stretched,
)
from moditalker.rendering import Identity, Renderer
from moditalker.settings import compose_settings
from moditalker.speech import SpeechEncoder, load_speech_encoder, voice_activity
from moditalker.timeline import extend

MOTION_RATE = 25.0
STILL_RATE = 25.0


@dataclass(frozen=True)
class Result:
    """What was made, and what it took."""

    out: Path
    frames: int
    seconds: float
    "Duration of the result."
    stages: dict[str, float] = field(default_factory=dict)
    "Seconds spent in each stage."
    peak_memory_mib: float = 0.0
    size: tuple[int, int] | None = None
    "Width and height, where it is a video."
    seed: int = 0
    preset: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for --json."""
        from moditalker import __version__

        rate = self.frames / self.seconds if self.seconds else 0.0
        return {
            **vars(self),
            "out": str(self.out),
            "fps": round(rate, 4),
            "stages": {name: round(seconds, 3) for name, seconds in self.stages.items()},
            "version": __version__,
            "torch": torch.__version__,
        }


@dataclass(frozen=True)
class Controls:
    """What a user may change of the motion; the defaults of the first two change nothing."""

    lip_scale: float = 1.0
    smooth: float = 0.0
    silence_gate: bool = True

    def apply(self, motion: Motion, speech: Audio) -> Motion:
        """The motion under the controls."""
        motion = smooth(scale_lips(motion, self.lip_scale), self.smooth)
        if not self.silence_gate:
            return motion
        return close_when_silent(motion, voice_activity(speech.samples, speech.rate, motion.times))


class MoDiTalker:
    """All networks of the system, ready to generate.

    >>> MoDiTalker.from_pretrained("lite").generate(audio="a.wav", video="ref.mp4", out="out.mp4")
    """

    def __init__(self, networks: Networks, preset: str, device: torch.device) -> None:
        self.networks, self.preset, self.device = networks.to(device), preset, device
        self.speech_encoder: SpeechEncoder | None = None

    @classmethod
    def from_pretrained(
        cls, preset: str = "lite", *, weights: str | Path | None = None, device: str = "auto"
    ) -> MoDiTalker:
        """A preset (lite, debug, paper), or a bundle: its folder as `preset` or as `weights`.

        Raises WeightsError where weights are missing or do not fit, SettingsError for the rest.
        """
        if weights is None and Path(preset).is_dir():
            from moditalker.bundle import read_config

            preset, weights = read_config(preset).get("preset", "lite"), preset
        return cls(load_networks(preset, weights), preset, choose_device(device))

    def motion(
        self,
        speech: Audio,
        initial: np.ndarray,
        *,
        seed: int = 0,
        controls: Controls = Controls(),  # noqa: B008 (frozen)
        overrides: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Motion:
        """Frontal motion at 25 Hz for a sound (16 kHz, mono), from an initial landmark (68, 3)."""
        progress = progress or Progress(quiet=True)
        sampling = compose_settings(overrides).atom
        with progress.stage("speech"):
            features = self.encoder().encode(speech.samples).to(self.device)
        with progress.stage("motion"):
            drawn = generate_motion(
                self.networks.atom,
                self.networks.statistics,
                self.networks.atom_diffusion,
                features,
                torch.from_numpy(initial),
                generator=torch.Generator().manual_seed(seed),
                steps=sampling.steps,
                guidance=sampling.guidance or self.networks.guidance,
                sampler=sampling.sampler,  # type: ignore[arg-type]
                overlap=sampling.overlap,
                batch=sampling.batch,
                mode=sampling.mode,  # type: ignore[arg-type]
                progress=progress.update,
            )
        times = np.arange(len(drawn)) / MOTION_RATE
        return controls.apply(Motion(drawn.cpu().numpy(), times, "frontal", initial), speech)

    def generate(
        self,
        audio: str | Path,
        video: str | Path | None = None,
        image: str | Path | None = None,
        out: str | Path = "out.mp4",
        *,
        seed: int = 0,
        steps: int | None = None,
        crop_only: bool = False,
        extend_by: str = "pingpong",
        face: str = "single",
        face_backend: str = "mediapipe",
        motion: str | Path | None = None,
        init: str | Path | None = None,
        controls: Controls = Controls(),  # noqa: B008 (frozen)
        overrides: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Result:
        """Make a video of the person in `video` or `image` saying `audio`; labelled as synthetic.

        Raises MoDiTalkerError with one line that says what to do; nothing half-written is left.
        """
        progress = progress or Progress(quiet=True)
        settings = compose_settings(overrides)
        settings.mtov.steps = steps or settings.mtov.steps
        speech, path = read_audio(audio), one_reference(video, image)
        check_writable(Path(out), ".mp4")
        with FrameSource(path) as source:
            if video is not None:
                source.info.require_moving()
            shown, whole, indices = self.watch(
                source, speech.seconds, extend_by, face, face_backend, progress
            )
            initial = initial_from(init) if init else whole.initial()
            if motion:
                drawn = Motion.load(motion)
            else:
                drawn = self.motion(
                    speech, initial, seed=seed, controls=controls, overrides=overrides,
                    progress=progress,
                )  # fmt: skip
            frontal = drawn.resample(shown.times).landmarks
            renderer = Renderer(
                self.networks, self.identity(source, whole), settings, seed, progress
            )
            with progress.stage("video"):
                frames = renderer.frames(source.read(indices), shown, frontal, crop_only)
                write_video(
                    out, frames, shown.times, audio=Path(audio), audio_seconds=speech.seconds,
                    metadata=self.label(seed),
                )  # fmt: skip
            size = (self.networks.size,) * 2 if crop_only else (source.info.width, source.info.height)
        return self.result(Path(out), len(shown), speech.seconds, progress, seed, size)

    def landmarks(
        self,
        audio: str | Path,
        video: str | Path | None = None,
        image: str | Path | None = None,
        landmarks: str | Path | None = None,
        out: str | Path = "motion.npz",
        *,
        space: str = "frontal",
        seed: int = 0,
        extend_by: str = "pingpong",
        face: str = "single",
        face_backend: str = "mediapipe",
        init: str | Path | None = None,
        controls: Controls = Controls(),  # noqa: B008 (frozen)
        overrides: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Result:
        """The landmark stage alone: `.npz`, `.csv`, `.json`, or an `.mp4` preview with the sound.

        `frontal` motion has 25 frames a second; posed (`image`) motion has the reference's own times.
        """
        progress = progress or Progress(quiet=True)
        if space not in ("frontal", "image"):
            raise SettingsError(f"--space is '{space}'. Take frontal or image.")
        check_writable(Path(out), ".npz", ".csv", ".json", ".mp4")
        speech = read_audio(audio)
        path = None if landmarks else one_reference(video, image)
        opened: AbstractContextManager[FrameSource | None]
        opened = FrameSource(path) if path else nullcontext()
        with opened as source:
            shown, whole, _ = self.watch(
                source, speech.seconds, extend_by, face, face_backend, progress, landmarks
            )
        initial = initial_from(init) if init else whole.initial()
        drawn = self.motion(
            speech, initial, seed=seed, controls=controls, overrides=overrides, progress=progress
        )
        if space == "image":
            drawn = drawn.resample(shown.times).to_image(shown.affine)
        with progress.stage("write"):
            self.write_motion(drawn, Path(out), Path(audio), speech.seconds, seed)
        return self.result(Path(out), len(drawn), speech.seconds, progress, seed, None)

    def write_motion(
        self, motion: Motion, out: Path, audio: Path, seconds: float, seed: int
    ) -> None:
        """Motion as a file, or as a preview with the sound where `out` is a video."""
        if out.suffix != ".mp4":
            motion.save(out)
            return
        write_video(
            out, preview_frames(motion), motion.times, audio=audio, audio_seconds=seconds,
            metadata=self.label(seed),
        )  # fmt: skip

    def watch(
        self,
        source: FrameSource | None,
        seconds: float,
        extend_by: str,
        face: str,
        backend: str,
        progress: Progress,
        landmarks: str | Path | None = None,
    ) -> tuple[Reference, Reference, Sequence[int]]:
        """The reference as the output shows it, the reference itself, and the frames shown.

        Only as many frames are tracked as the sound needs.
        """
        with progress.stage("faces"):
            if source is None:
                assert landmarks is not None
                whole = landmark_reference(landmarks)
                last = 1 / STILL_RATE
            else:
                times = np.asarray(source.info.times)
                count = max(1, int(np.searchsorted(times, seconds)))
                whole = read_reference(
                    source, min(count, len(times)), face=face, backend=backend,
                    device=str(self.device), progress=progress.update,
                )  # fmt: skip
                last = source.info.last_duration or 1 / STILL_RATE
            mode = "freeze" if len(whole) == 1 else extend_by
            shown = extend(whole.times, last, seconds, mode)  # type: ignore[arg-type]
        indices = np.asarray(shown.indices)
        return stretched(whole, indices, np.asarray(shown.times)), whole, indices.tolist()

    def identity(self, source: FrameSource, reference: Reference) -> Identity:
        """The frame that lends its texture."""
        frame, size = reference.identity_frame(), self.networks.size
        crop = reference.windows.extract(source[frame], frame, size)
        return Identity(crop, reference.windows.affine_to_crop(reference.affine, size)[frame])

    def encoder(self) -> SpeechEncoder:
        """The speech encoder that the weights were trained with, loaded when first needed."""
        if self.speech_encoder is None:
            self.speech_encoder = load_speech_encoder(self.networks.speech_encoder, self.device)
        return self.speech_encoder

    def label(self, seed: int) -> dict[str, str]:
        """The metadata of everything that is made here."""
        return {**SYNTHETIC_METADATA, "comment": f"{SYNTHETIC_METADATA['comment']} seed={seed}"}

    def result(
        self,
        out: Path,
        frames: int,
        seconds: float,
        progress: Progress,
        seed: int,
        size: tuple[int, int] | None,
    ) -> Result:
        """The account of a run."""
        return Result(
            out, frames, seconds, progress.seconds, peak_memory(), size, seed, self.preset
        )


def choose_device(name: str) -> torch.device:
    """`auto`, `cuda`, `mps` or `cpu`. Raises SettingsError where the machine lacks it."""
    available: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there()))
    if name not in available:
        raise SettingsError(f"--device is '{name}'. Take auto, cuda, mps or cpu.")
    if not available[name]():
        raise SettingsError(f"this machine has no {name} for torch. Take --device auto.")
    return torch.device(name)


def one_reference(video: str | Path | None, image: str | Path | None) -> Path:
    """The one of the two that is given. Raises SettingsError."""
    given: Iterator[str | Path] = (one for one in (video, image) if one is not None)
    paths = [Path(one) for one in given]
    if len(paths) != 1:
        raise SettingsError("give one reference: --video FILE or --image FILE.")
    return paths[0]


def check_writable(out: Path, *endings: str) -> None:
    """SettingsError for another ending, or a folder that is not there, before any work is done."""
    if out.suffix.lower() not in endings:
        raise SettingsError(f"{out}: the result is a {', '.join(endings)} file.")
    if not out.resolve().parent.is_dir():
        raise SettingsError(f"{out}: there is no folder {out.resolve().parent}.")


def peak_memory() -> float:
    """The process's largest memory so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
