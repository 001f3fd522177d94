"""Training windows for AToM from data set folders (`moditalker prepare` makes them)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from atom.model import SPEECH_PER_FRAME
from moditalker.errors import DatasetError

ENDLESS = 2**40  # windows are drawn as long as training asks for them


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
    with open(path, encoding="utf-8", newline="") as file:
        return {row["clip"]: int(row["best_lag_frames_25fps"]) for row in csv.DictReader(file)}


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

    def __init__(self, clips: list[Clip], frames: int, seed: int, initial_noise: float) -> None:
        self.clips, self.frames, self.seed = clips, frames, seed
        self.initial_noise = initial_noise
        lengths = np.array([len(clip) for clip in clips], dtype=float)
        self.probability = lengths / lengths.sum()

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        random = np.random.default_rng((self.seed, index))
        clip = self.clips[random.choice(len(self.clips), p=self.probability)]
        places = random.integers(max(1, len(clip) - self.frames + 1)) + np.arange(self.frames)
        places = places.clip(0, len(clip) - 1)  # a short clip holds its last frame
        heard = (SPEECH_PER_FRAME * places[:, None] + np.arange(SPEECH_PER_FRAME)).ravel()
        initial = clip.landmarks[random.integers(len(clip))]
        noise = self.initial_noise * random.standard_normal(initial.shape)
        return {
            "landmarks": torch.from_numpy(clip.landmarks[places]),
            "speech": torch.from_numpy(clip.speech[heard]).float(),
            "initial": torch.from_numpy((initial + noise).astype(np.float32)),
        }


class From(Sampler[int]):
    """The numbers from `start` on: where a run that resumes goes on."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, ENDLESS))

    def __len__(self) -> int:
        return ENDLESS - self.start


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
        initial_noise: float = 0.003,
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
            initial_noise: standard deviation of noise on the initial landmark, in eye distances.
            most_frames: `validate` and `test` look at no more frames of a clip.
            seed: decides every window together with its number.
        """
        super().__init__()
        self.folders, self.test_folders = folders, test_folders or folders
        self.validation_people = tuple(validation_people or ())
        self.speech_encoder, self.frames, self.batch_size = speech_encoder, frames, batch_size
        self.workers, self.lags, self.initial_noise = workers, lags, initial_noise
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

    def kept_out(self, clip: Clip) -> bool:
        """Whether the person is one of the validation's."""
        return bool(self.validation_people) and clip.person.startswith(self.validation_people)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Windows from where the optimizer stands, so that a resumed run sees what it would have."""
        done = self.trainer.global_step if self.trainer else 0
        windows = MotionWindows(self.training, self.frames, self.seed, self.initial_noise)
        sampler = From(done * self.batch_size)
        return DataLoader(windows, self.batch_size, sampler=sampler, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Whole clips of the people kept out, or of all where none is."""
        return DataLoader(WholeClips(self.validation or self.training, self.most_frames))

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Whole clips of the test folders."""
        return DataLoader(WholeClips(self.testing, self.most_frames))
