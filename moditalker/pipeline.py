"""MoDiTalker from end to end: sound and a reference to motion, and motion to video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from atom.sampling import generate_motion
from moditalker.controls import Controls
from moditalker.devices import choose_device, gpu_memory
from moditalker.errors import OutputError, ReferenceVideoError, SettingsError
from moditalker.media import SYNTHETIC_METADATA, Audio, FrameSource, read_audio, write_video
from moditalker.motion import Motion, only_frontal
from moditalker.presets import Networks, load_networks
from moditalker.preview import preview_frames
from moditalker.progress import Progress
from moditalker.reference import RATE, Seen, Watching, initial_from, watch, watch_landmarks
from moditalker.rendering import Renderer
from moditalker.result import Result
from moditalker.settings import GenerateSettings, compose_settings
from moditalker.speech import SpeechEncoder, load_speech_encoder
from moditalker.timeline import Mode

File = str | Path
MOTION_FILES = (".npz", ".csv", ".json")
PREVIEW_SIZE = 512


class MoDiTalker:
    """All networks of the system, ready to generate.

    >>> talker = MoDiTalker.from_pretrained("lite")
    >>> talker.generate(audio="a.wav", video="ref.mp4", out="out.mp4")
    """

    def __init__(self, networks: Networks, device: torch.device) -> None:
        self.networks, self.device = networks.to(device), device
        self.speech_encoder: SpeechEncoder | None = None

    @classmethod
    def from_pretrained(
        cls, preset: str | Path | None = None, *, weights: File | None = None, device: str = "auto"
    ) -> MoDiTalker:
        """The networks of a preset (lite, debug, paper), or of a bundle.

        Args:
            preset: its name, or a bundle's folder. If not given: lite, or what `weights` are for.
            weights: folder of the bundle.
            device: auto, cuda, mps or cpu.

        Raises:
            WeightsError: weights are missing, damaged, or do not fit the preset.
            SettingsError: there is no such preset or device.
        """
        return cls(load_networks(preset, weights), choose_device(device))

    def generate(
        self,
        audio: File,
        video: File | None = None,
        image: File | None = None,
        out: File = "out.mp4",
        *,
        seed: int = 0,
        steps: int | None = None,
        crop_only: bool = False,
        extend: Mode = "pingpong",
        face: str = "largest",
        face_backend: str = "mediapipe",
        motion: File | None = None,
        init: File | None = None,
        lip_scale: float = 1.0,
        smooth: float = 0.0,
        silence_gate: bool = True,
        overrides: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Result:
        """Make a video of the person in `video` or `image` saying `audio`; labelled as synthetic.

        The options are those of `moditalker generate`; `overrides` are words such as
        `mtov.steps=8`. `progress` shows the stages; without it nothing is shown. Raises a
        MoDiTalkerError of one line that says what to do; then no file is left behind.
        """
        run = Run(checked_out(out, ".mp4"), Path(audio), seed, progress or Progress(quiet=True))
        settings = compose_settings(with_steps(overrides, steps))
        controls = Controls(lip_scale, smooth, silence_gate)
        speech = read_audio(audio)
        with open_reference(video, image) as source:
            how = Watching(extend, face, face_backend, str(self.device))
            with run.progress.stage("faces"):
                seen = watch(source, speech.seconds, how, run.progress)
            if motion is None:
                drawn = self.draw(run, speech, seen, init, settings, controls)
            else:
                drawn = given_motion(motion, controls, speech)
            with run.progress.stage("video"):
                renderer = Renderer(self.networks, settings, seed, run.progress)
                frames = renderer.frames(source, seen, drawn, crop_only)
                run.write(frames, seen.shown.times, speech.seconds)
            size = renderer.size_of(source, crop_only)
        return self.result(run, len(seen.shown), speech.seconds, size)

    def landmarks(
        self,
        audio: File,
        video: File | None = None,
        image: File | None = None,
        landmarks: File | None = None,
        out: File = "motion.npz",
        *,
        space: str = "frontal",
        seed: int = 0,
        extend: Mode = "pingpong",
        face: str = "largest",
        face_backend: str = "mediapipe",
        init: File | None = None,
        lip_scale: float = 1.0,
        smooth: float = 0.0,
        silence_gate: bool = True,
        overrides: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Result:
        """The landmark stage alone: `.npz`, `.csv`, `.json`, or an `.mp4` preview with the sound.

        `frontal` motion has 25 frames a second; posed (`image`) motion has the reference's own
        times. The options are those of `moditalker landmarks`. Raises a MoDiTalkerError.
        """
        if space not in ("frontal", "image"):
            raise SettingsError(f"--space is '{space}'. Take frontal or image.")
        out = checked_out(out, *MOTION_FILES, ".mp4")
        run = Run(out, Path(audio), seed, progress or Progress(quiet=True))
        settings = compose_settings(overrides)
        speech = read_audio(audio)
        with run.progress.stage("faces"):
            how = Watching(extend, face, face_backend, str(self.device))
            seen = self.see(video, image, landmarks, speech.seconds, how, run.progress)
        drawn = self.draw(
            run, speech, seen, init, settings, Controls(lip_scale, smooth, silence_gate)
        )
        if space == "image":
            drawn = drawn.resample(seen.shown.times).to_image(seen.shown.affine)
        with run.progress.stage("write"):
            run.write_motion(drawn, speech.seconds)
        size = (PREVIEW_SIZE, PREVIEW_SIZE) if out.suffix.lower() == ".mp4" else None
        return self.result(run, len(drawn), speech.seconds, size)

    def motion(
        self,
        speech: Audio,
        initial: np.ndarray,
        *,
        seed: int = 0,
        settings: GenerateSettings | None = None,
        progress: Progress | None = None,
    ) -> Motion:
        """Frontal motion at 25 Hz for a sound (16 kHz, mono), from an initial landmark (68, 3)."""
        progress = progress or Progress(quiet=True)
        sampling = (settings or GenerateSettings()).atom
        with progress.stage("speech"):
            features = self.encoder().encode(speech.samples).to(self.device)
        own, asked = self.networks, sampling
        guidance = own.guidance if asked.guidance is None else asked.guidance
        temperature = own.temperature if asked.temperature is None else asked.temperature
        with progress.stage("motion"):
            drawn = generate_motion(
                self.networks.atom, self.networks.statistics, self.networks.atom_diffusion,
                features, torch.from_numpy(initial).to(self.device),
                generator=torch.Generator().manual_seed(seed), steps=sampling.steps,
                guidance=guidance, temperature=temperature, sampler=sampling.sampler,  # type: ignore[arg-type]
                overlap=sampling.overlap, batch=sampling.batch,
                mode=sampling.mode, progress=progress.update,  # type: ignore[arg-type]
            )  # fmt: skip
        times = np.arange(len(drawn)) / RATE
        return Motion(drawn.float().cpu().numpy(), times, "frontal", initial)

    def draw(
        self,
        run: Run,
        speech: Audio,
        seen: Seen,
        init: File | None,
        settings: GenerateSettings,
        controls: Controls,
    ) -> Motion:
        """Motion from the reference's closed mouth or from `init`, under the controls."""
        initial = initial_from(init) if init else seen.whole.initial()
        drawn = self.motion(
            speech, initial, seed=run.seed, settings=settings, progress=run.progress
        )
        return controls.apply(drawn, speech)

    def see(
        self,
        video: File | None,
        image: File | None,
        landmarks: File | None,
        seconds: float,
        how: Watching,
        progress: Progress,
    ) -> Seen:
        """The reference from a video, an image, or a landmark file: no detector is loaded then."""
        if landmarks is None:
            with open_reference(video, image) as source:
                return watch(source, seconds, how, progress)
        if video or image:
            raise SettingsError("--landmarks is the reference. Leave out --video and --image.")
        return watch_landmarks(landmarks, seconds, how.extend)

    def encoder(self) -> SpeechEncoder:
        """The speech encoder that the weights were trained with, loaded when first needed."""
        if self.speech_encoder is None:
            self.speech_encoder = load_speech_encoder(self.networks.speech_encoder, self.device)
        return self.speech_encoder

    def result(self, run: Run, frames: int, seconds: float, size: tuple[int, int] | None) -> Result:
        """The account of a run."""
        return Result(
            run.out, frames, seconds, size, self.networks.preset, run.seed, run.progress.seconds,
            run.progress.memory, gpu_memory(self.device),
        )  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What is common to all stages of one run."""

    out: Path
    audio: Path
    seed: int
    progress: Progress

    def write(self, frames: Iterable[np.ndarray], times: np.ndarray, seconds: float) -> None:
        """A video with the sound and the label of synthetic media."""
        comment = f"{SYNTHETIC_METADATA['comment']} seed={self.seed}"
        metadata = {**SYNTHETIC_METADATA, "comment": comment}
        write_video(
            self.out, frames, times, audio=self.audio, audio_seconds=seconds, metadata=metadata
        )

    def write_motion(self, motion: Motion, seconds: float) -> None:
        """A motion file, or a preview with the sound where `out` is a video."""
        if self.out.suffix.lower() == ".mp4":
            self.write(preview_frames(motion, PREVIEW_SIZE), motion.times, seconds)
        else:
            motion.save(self.out)


def given_motion(path: File, controls: Controls, speech: Audio) -> Motion:
    """Motion from a file, scaled and smoothed; never gated: it is what its maker wants."""
    motion = only_frontal(Motion.load(path))
    return Controls(controls.lip_scale, controls.smooth, silence_gate=False).apply(motion, speech)


def open_reference(video: File | None, image: File | None) -> FrameSource:
    """The one of the two that is given. Raises SettingsError, ReferenceVideoError."""
    path = video or image
    if path is None or (video and image):
        raise SettingsError("give one reference: --video FILE or --image FILE.")
    source = FrameSource(path)
    try:
        if image and not source.info.is_image:
            raise ReferenceVideoError(f"{path} is a video. Give it with --video.")
        source.info.require_moving()
    except ReferenceVideoError:
        source.close()
        raise
    return source


def checked_out(out: File, *endings: str) -> Path:
    """The path of the result, checked before any work is done. Raises OutputError."""
    out = Path(out)
    if out.suffix.lower() not in endings:
        raise OutputError(f"{out} must end in {' or '.join(endings)}.")
    if out.is_dir():
        raise OutputError(f"{out} is a folder. Give a file.")
    if not out.resolve().parent.is_dir():
        raise OutputError(f"there is no folder {out.resolve().parent} for {out.name}.")
    return out


def with_steps(overrides: Sequence[str], steps: int | None) -> Sequence[str]:
    """The overrides, and the option --steps as one of them."""
    return overrides if steps is None else [f"mtov.steps={steps}", *overrides]
