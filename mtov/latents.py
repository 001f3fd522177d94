"""The latent cache: what the frozen networks make of training windows, computed once.

One file per clip, `(windows, 16, N)` float16: target, landmark, pose and identity latents by
channel. The folder's name is a checksum of the frozen weights and of all settings, and the file's
name holds one of the clip: a cache is never read for anything else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from mtov.autoencoder import TriPlaneAutoencoder, TriPlaneEncoder
from mtov.data import Clip, Windows, WindowSettings
from mtov.planes import PlaneShape
from mtov.sampling import encode_conditions

FORMAT = 1
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class CacheSettings:
    """Which windows of a clip are encoded."""

    stride: int = 4
    "A window begins in every stretch of so many frames."
    variants: int = 2
    "Passes over each clip, each with other cuts, identity frames, mirroring and colours."
    batch: int = 2
    "Windows that are encoded in one pass."


class ClipWindows(Dataset[Batch]):
    """The windows of one clip that are encoded. Window m is always the same."""

    def __init__(
        self, clip: Clip, window: WindowSettings, cache: CacheSettings, seed: int, augment: bool
    ) -> None:
        self.clip, self.cache, self.seed, self.augment = clip, cache, seed, augment
        self.windows = Windows([clip], window, 1, augment=augment)
        self.latest = len(clip) - window.frames
        self.starts = range(0, self.latest + 1, cache.stride)
        self.fingerprint = fingerprint(clip.folder)

    def __len__(self) -> int:
        return len(self.starts) * (self.cache.variants if self.augment else 1)

    def __getitem__(self, index: int) -> Batch:
        random = np.random.default_rng((self.seed, int(self.fingerprint, 16), index))
        start = self.starts[index % len(self.starts)]
        if self.augment:
            start = min(start + int(random.integers(self.cache.stride)), self.latest)
        return self.windows.window(self.clip, start, random)

    def batches(self) -> Iterator[Batch]:
        """All windows, `cache.batch` at a time."""
        for start in range(0, len(self), self.cache.batch):
            stop = min(start + self.cache.batch, len(self))
            yield default_collate([self[index] for index in range(start, stop)])


def fingerprint(folder: Path) -> str:
    """Checksum of a clip's video and motion, 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in ("crop.mp4", "motion.npz"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


class LatentCache:
    """Makes and reads the files of one setting of the frozen networks and of the windows."""

    def __init__(
        self,
        folder: str | Path,
        autoencoder: TriPlaneAutoencoder,
        landmark_encoder: TriPlaneEncoder,
        window: WindowSettings,
        cache: CacheSettings,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        self.networks = autoencoder, landmark_encoder
        self.window, self.cache, self.seed, self.augment = window, cache, seed, augment
        self.folder = Path(folder) / self.key()

    @property
    def planes(self) -> PlaneShape:
        """Shape of the latents' planes."""
        return self.networks[0].planes

    def key(self) -> str:
        """Checksum of all that decides the latents, the decoder not included."""
        settings = [FORMAT, asdict(self.window), self.cache.stride, self.cache.variants]
        settings += [self.seed, self.augment]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for network in (self.networks[0].encoder, self.networks[1]):
            for name, tensor in sorted(network.state_dict().items()):
                digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()[:16]

    def windows(self, clip: Clip) -> ClipWindows:
        """The windows of `clip` in the order of its file."""
        return ClipWindows(clip, self.window, self.cache, self.seed, self.augment)

    def path(self, clip: Clip) -> Path:
        """The file of a clip's latents."""
        return self.folder / f"{clip.folder.name}-{fingerprint(clip.folder)}.npy"

    def fill(self, clips: list[Clip], report: Callable[[str], None] | None = None) -> None:
        """Encode the clips that have no file yet. An interrupted run goes on where it stood."""
        missing = [clip for clip in clips if not self.path(clip).exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        for done, clip in enumerate(missing, start=1):
            part = self.path(clip).with_suffix(".part.npy")
            np.save(part, self.encode(self.windows(clip)))
            part.rename(self.path(clip))
            if report:
                report(f"latents: {done} of {len(missing)} clips ({clip.folder.name})")

    @torch.inference_mode()
    def encode(self, windows: ClipWindows) -> np.ndarray:
        """Latents (windows, 16, N) float16."""
        autoencoder, landmark_encoder = self.networks
        device = next(landmark_encoder.parameters()).device
        made = []
        for batch in windows.batches():
            video, *conditions = (
                batch[name].to(device)
                for name in ("video", "landmarks", "pose_frames", "identity_frames")
            )
            condition = encode_conditions(autoencoder, landmark_encoder, *conditions)
            made.append(torch.cat([autoencoder.encode(video), condition], dim=1).half().cpu())
        return torch.cat(made).numpy()

    def read(self, clip: Clip) -> np.ndarray:
        """Latents (windows, 16, N) of a clip, as a memory map."""
        return np.load(self.path(clip), mmap_mode="r")

    def statistics(self, clips: list[Clip]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and standard deviation of the target latents per channel and plane, each (4, 3).

        Then the same of the residuals, target minus identity latent.
        """
        rows = [torch.from_numpy(np.array(self.read(clip)[:64])).float() for clip in clips]
        latents = torch.cat(rows)
        target, identity = latents[:, :4], latents[:, -4:]
        return *self.moments(target), *self.moments(target - identity)

    def moments(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of latents (B, C, N) per channel and plane, each (C, 3)."""
        planes = [plane.transpose(0, 1).flatten(1) for plane in self.planes.split(latents)]
        mean = torch.stack([plane.mean(dim=1) for plane in planes], dim=1)
        std = torch.stack([plane.std(dim=1) for plane in planes], dim=1)
        return mean, std.clamp(min=1e-3)


def latent_item(latents: np.ndarray) -> Batch:
    """A row (16, N) of a file as `latent` (4, N) and `condition` (12, N)."""
    tensor = torch.from_numpy(np.array(latents)).float()
    return {"latent": tensor[:4], "condition": tensor[4:]}


class RandomLatents(Dataset[Batch]):
    """Latents for training without end; item i depends on (seed, i) only. Reads nothing else."""

    def __init__(self, cache: LatentCache, clips: list[Clip], length: int, seed: int) -> None:
        self.latents, self.length, self.seed = [cache.read(clip) for clip in clips], length, seed
        weights = np.sqrt([len(rows) for rows in self.latents])
        self.probability = weights / weights.sum()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        random = np.random.default_rng((self.seed, index))
        rows = self.latents[random.choice(len(self.latents), p=self.probability)]
        return latent_item(rows[random.integers(len(rows))])


class FixedLatents(Dataset[Batch]):
    """`count` windows spread evenly over all, with their pictures: for validation and test."""

    def __init__(self, cache: LatentCache, clips: list[Clip], count: int) -> None:
        self.cache, self.clips = cache, clips
        places = [(c, m) for c, clip in enumerate(clips) for m in range(len(cache.windows(clip)))]
        chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
        self.places = [places[index] for index in chosen]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Batch:
        which, window = self.places[index]
        clip = self.clips[which]
        return latent_item(self.cache.read(clip)[window]) | self.cache.windows(clip)[window]
