"""Training windows for AToM from data set folders (`moditalker prepare` makes them)."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from atom.augment import Augmentation, mirrored, read_at
from atom.model import SPEECH_PER_FRAME
from moditalker.errors import DatasetError
from moditalker.training.sampler import ENDLESS, ResumableSampler


@dataclass(frozen=True)
class Clip:
    """One clip with speech, at 25 Hz."""

    name: str
    person: str
    landmarks: np.ndarray
    "(T, 68, 3) frontal, float32."
    speech: np.ndarray
    "(2T, D) float16; corrected for the clip's lag."

    def __len__(self) -> int:
        return len(self.landmarks)


def read_lags(path: str | None) -> dict[str, int]:
    """Lag of each clip's audio in frames, from a CSV with clip and best_lag_frames_25fps."""
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return {row["clip"]: int(row["best_lag_frames_25fps"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{path} is no table of lags ({error}). It has the columns clip, best_lag_frames_25fps."
        ) from error


def read_clips(folders: list[str], encoder: str, lags: dict[str, int], least: int) -> list[Clip]:
    """All kept clips with speech and at least `least` frames. Raises DatasetError."""
    clips = []
    for folder in map(Path, folders):
        manifest = folder / "manifest.jsonl"
        if not manifest.exists():
            raise DatasetError(
                f"{folder} has no manifest.jsonl. Make it: moditalker prepare VIDEOS"
            )
        for line in manifest.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            speech = folder / "clips" / entry["id"] / f"speech-{encoder}.npy"
            if entry["status"] == "kept" and entry["frames"] >= least and speech.exists():
                lag = lags.get(entry["id"], 0)
                clips.append(read_clip(speech, entry["id"], entry["person"], lag))
    if not clips:
        raise DatasetError(
            f"no clip with {encoder} features in {', '.join(folders)}. Prepare them with "
            f"--speech-encoder {encoder}."
        )
    return clips


def read_clip(speech: Path, name: str, person: str, lag: int) -> Clip:
    """One clip; where its audio is `lag` frames late, its features are read so much later."""
    landmarks = np.load(speech.parent / "motion.npz")["frontal"].astype(np.float32)
    features = np.load(speech)
    places = np.arange(SPEECH_PER_FRAME * len(landmarks)) + SPEECH_PER_FRAME * lag
    return Clip(name, person, landmarks, features[places.clip(0, len(features) - 1)])


class MotionWindows(Dataset[dict[str, Tensor]]):
    """Random windows of clips; item i depends on (seed, i) only, so that training resumes exactly."""

    def __init__(
        self, clips: list[Clip], frames: int, seed: int, augmentation: Augmentation
    ) -> None:
        self.clips, self.frames, self.seed = clips, frames, seed
        self.augmentation = augmentation
        lengths = np.array([len(clip) for clip in clips], dtype=float)
        self.probability = lengths / lengths.sum()
        self.faces = np.stack([clip.landmarks.mean(axis=0) for clip in clips])
        some = np.concatenate([clip.speech[::8].astype(np.float32) for clip in clips])
        self.speech_deviation = some.std(axis=0)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """landmarks (T, 68, 3), speech (2T, D), initial (68, 3): of another time in the clip."""
        random = np.random.default_rng((self.seed, index))
        number = random.choice(len(self.clips), p=self.probability)
        clip, much = self.clips[number], self.augmentation
        landmarks, speech = self.window(clip, random)
        speech += much.speech_noise * self.speech_deviation * random.standard_normal(speech.shape)
        initial = clip.landmarks[random.integers(len(clip))]
        face = self.other_face(number, random)
        landmarks, initial = landmarks + face, initial + face
        if random.random() < much.mirror:
            landmarks, initial = mirrored(landmarks), mirrored(initial)
        initial = initial + much.initial_noise * random.standard_normal(initial.shape)
        found = {"landmarks": landmarks, "speech": speech, "initial": initial}
        return {key: torch.from_numpy(value.astype(np.float32)) for key, value in found.items()}

    def window(self, clip: Clip, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A window's landmarks and speech; a clip that is too short holds its last frame."""
        pace = 1 + self.augmentation.tempo * random.uniform(-1, 1)
        covered = int(np.ceil((self.frames - 1) * pace)) + 1
        first = random.integers(max(1, len(clip) - covered + 1))
        frames = first + pace * np.arange(self.frames)
        # Speech frame k is heard at motion frame k / 2, so both are read at the same times.
        halves = np.arange(SPEECH_PER_FRAME * self.frames) / SPEECH_PER_FRAME
        heard = SPEECH_PER_FRAME * (first + pace * halves)
        return read_at(clip.landmarks, frames), read_at(clip.speech, heard)

    def other_face(self, number: int, random: np.random.Generator) -> np.ndarray:
        """What to add (68, 3) to move clip `number` towards the mean face of another clip."""
        if random.random() >= self.augmentation.identity:
            return np.zeros_like(self.faces[number])
        other = self.faces[random.integers(len(self.faces))]
        return random.random() * (other - self.faces[number])


class WholeClips(Dataset[dict[str, Tensor]]):
    """Whole clips from their first frame, for validation and test."""

    def __init__(self, clips: list[Clip], most_frames: int) -> None:
        self.clips, self.most_frames = clips, most_frames

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip, most = self.clips[index], self.most_frames
        return {
            "landmarks": torch.from_numpy(clip.landmarks[:most]),
            "speech": torch.from_numpy(clip.speech[: SPEECH_PER_FRAME * most]).float(),
            "initial": torch.from_numpy(clip.landmarks[0]),
        }


class MotionData(pl.LightningDataModule):
    """Windows of frontal landmarks with their speech features."""

    def __init__(
        self,
        folders: list[str],
        test_folders: list[str] | None = None,
        validation_people: list[str] | None = None,
        speech_encoder: str = "whisper-tiny.en",
        frames: int = 156,
        batch_size: int = 64,
        workers: int = 2,
        lags: str | None = None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 (frozen)
        most_frames: int = 750,
        seed: int = 0,
    ) -> None:
        """
        Args:
            folders: data set folders, each made by `moditalker prepare`.
            test_folders: data set folders that only `test` reads.
            validation_people: people (manifest's `person`, or how it begins) kept for `validate`.
            speech_encoder: which features to read.
            frames: length of training windows at 25 Hz.
            batch_size: windows a step.
            workers: processes that read windows.
            lags: CSV with columns clip and best_lag_frames_25fps; features are shifted by it.
            augmentation: random changes to training windows.
            most_frames: `validate` and `test` look at no more frames of a clip.
            seed: decides every window together with its number.
        """
        super().__init__()
        self.folders, self.test_folders = folders, test_folders or folders
        self.validation_people = tuple(validation_people or ())
        self.speech_encoder, self.frames, self.batch_size = speech_encoder, frames, batch_size
        self.workers, self.lags, self.augmentation = workers, lags, augmentation
        self.most_frames, self.seed = most_frames, seed
        self.training: list[Clip] = []
        self.validation: list[Clip] = []
        self.testing: list[Clip] = []

    def setup(self, stage: str) -> None:
        """Read the clips that `stage` needs."""
        lags = read_lags(self.lags)
        if stage == "test":
            self.testing = read_clips(self.test_folders, self.speech_encoder, {}, 25)
            return
        clips = read_clips(self.folders, self.speech_encoder, lags, 25)
        self.validation = [clip for clip in clips if self.kept_out(clip)]
        self.training = [clip for clip in clips if not self.kept_out(clip)]
        if not self.training:
            people = ", ".join(self.validation_people)
            raise DatasetError(f"validation_people {people} leaves nobody to train on. Name fewer.")

    def kept_out(self, clip: Clip) -> bool:
        """Whether the person is one of the validation's."""
        return bool(self.validation_people) and clip.person.startswith(self.validation_people)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Windows from where the optimizer stands, so that a resumed run sees what it would have."""
        windows = MotionWindows(self.training, self.frames, self.seed, self.augmentation)
        sampler = ResumableSampler.of(self.trainer, self.batch_size)
        return DataLoader(windows, self.batch_size, sampler=sampler, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Whole clips of the people kept out, or of all where none is."""
        return DataLoader(WholeClips(self.validation or self.training, self.most_frames))

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Whole clips of the test folders."""
        return DataLoader(WholeClips(self.testing, self.most_frames))
