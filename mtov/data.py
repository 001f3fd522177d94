"""Training windows for MToV from a data set folder (`moditalker prepare` makes one).

A window is 16 frames of one clip with all that the three conditions need. Every window is a function
of (seed, index) alone, so that training resumes exactly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moditalker.errors import DatasetError
from moditalker.landmarks import MOUTH, NOSE_BASE
from mtov.conditions import align_identity, cut_pose_frames
from mtov.landmark_video import Style, landmark_video


@dataclass(frozen=True)
class WindowSettings:
    """How windows are drawn."""

    frames: int = 16
    size: int = 256
    landmark_style: Style | None = "dots"
    "How landmarks are drawn; null: not at all (the RGB autoencoder needs none)."
    pose_cut_jitter: float = 6.0
    "The cut of the pose frames moves up at random by at most so many pixels (at 256²)."
    identity_distance: int = 25
    "Identity frames come from at least so many frames away, where the clip is long enough."
    flip: bool = True
    "Mirror half of the windows."
    colour: float = 0.1
    "Strength of the random gain and offset of the colours, the same in all pictures of a window."


class Clip:
    """One prepared clip: frames (T, H, W, 3) uint8 on disk, crop landmarks and affine maps."""

    def __init__(self, folder: Path, person: str, size: int) -> None:
        motion = np.load(folder / "motion.npz")
        self.folder, self.person = folder, person
        scale = size / 256
        self.landmarks: np.ndarray = motion["landmarks"][..., :2] * scale
        self.affine: np.ndarray = motion["affine"] * scale
        self.frames = decoded_frames(folder, size)

    def __len__(self) -> int:
        return min(len(self.frames), len(self.landmarks))


def decoded_frames(folder: Path, size: int) -> np.ndarray:
    """The crop video as a memory map (T, size, size, 3), decoded once and kept beside it."""
    cache = folder / f"frames-{size}.npy"
    if not cache.exists():
        import imageio.v3 as iio
        from PIL import Image

        video = iio.imread(folder / "crop.mp4", plugin="pyav")
        if video.shape[1] != size:
            video = np.stack([np.asarray(Image.fromarray(f).resize((size, size))) for f in video])
        part = cache.with_suffix(".part.npy")
        np.save(part, video)
        part.rename(cache)
    return np.load(cache, mmap_mode="r")


def read_clips(folders: list[str], size: int, least_frames: int) -> list[Clip]:
    """All kept clips of the folders with at least `least_frames` frames.

    Raises DatasetError when a folder has no manifest, or nothing is left.
    """
    clips = []
    for folder in map(Path, folders):
        manifest = folder / "manifest.jsonl"
        if not manifest.exists():
            raise DatasetError(
                f"{folder} has no manifest.jsonl. Make it: moditalker prepare VIDEOS"
            )
        for line in manifest.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["status"] == "kept" and entry["frames"] >= least_frames:
                clips.append(Clip(folder / "clips" / entry["id"], entry["person"], size))
    if not clips:
        raise DatasetError(f"no clip of {least_frames} frames or more in {', '.join(folders)}")
    return clips


class Windows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Windows drawn from clips in proportion to their length; item i depends on (seed, i) only."""

    def __init__(
        self,
        clips: list[Clip],
        settings: WindowSettings,
        length: int,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        self.clips, self.settings, self.length = clips, settings, length
        self.seed, self.augment = seed, augment
        frames = np.array([len(clip) for clip in clips], dtype=float)
        self.probability = np.sqrt(frames) / np.sqrt(frames).sum()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        random = np.random.default_rng((self.seed, index))
        clip = self.clips[random.choice(len(self.clips), p=self.probability)]
        start = int(random.integers(len(clip) - self.settings.frames + 1))
        return self.window(clip, start, random)

    def window(self, clip: Clip, start: int, random: np.random.Generator) -> dict[str, Tensor]:
        """The window of `clip` that begins at frame `start`."""
        span = np.arange(start, start + self.settings.frames)
        chosen = np.append(span, self.other(clip, start, random))
        images = torch.from_numpy(clip.frames[chosen]).float().permute(3, 0, 1, 2) / 127.5 - 1
        affine, points = clip.affine[chosen], clip.landmarks[span]
        if self.augment:
            images, affine, points = self.augmented(images, affine, points, random)
        return self.conditions(images, torch.from_numpy(affine).float(), points, random)

    def other(self, clip: Clip, start: int, random: np.random.Generator) -> int:
        """A frame of the clip far from the window, for the identity."""
        away = self.settings.identity_distance
        after = np.arange(start + self.settings.frames + away, len(clip))
        far = np.concatenate([np.arange(max(0, start - away)), after])
        return int(random.choice(far if len(far) else len(clip)))

    def augmented(
        self, images: Tensor, affine: np.ndarray, points: np.ndarray, random: np.random.Generator
    ) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Mirrored at random, and with another gain and offset per colour channel."""
        strength, edge = self.settings.colour, self.settings.size - 1
        gain = 1 + strength * torch.from_numpy(random.uniform(-1, 1, (3, 1, 1, 1))).float()
        offset = strength * torch.from_numpy(random.uniform(-1, 1, (3, 1, 1, 1))).float()
        images = (images * gain + offset).clamp(-1, 1)
        if self.settings.flip and random.random() < 0.5:
            images = images.flip(-1)
            affine = affine * np.array([-1.0, 1.0])[:, None]
            affine[..., 0, 3] += edge
            points = points * [-1.0, 1.0] + [edge, 0.0]
        return images, affine, points

    def conditions(
        self, images: Tensor, affine: Tensor, points: np.ndarray, random: np.random.Generator
    ) -> dict[str, Tensor]:
        """Target and conditions, each (3, S, H, W), and the mouth boxes (S, 4) as x0, y0, x1, y1."""
        target, identity = images[None, :, :-1], images[None, :, -1]
        jitter = random.uniform(0, self.settings.pose_cut_jitter) * self.settings.size / 256
        nose_base = torch.from_numpy(points[None, :, NOSE_BASE, 1]).float() - jitter
        window = {
            "video": target[0].contiguous(),
            "pose_frames": cut_pose_frames(target, nose_base)[0],
            "identity_frames": align_identity(identity, affine[None, -1], affine[None, :-1])[0],
            "mouth_box": mouth_boxes(points, self.settings.size),
        }
        if style := self.settings.landmark_style:
            window["landmarks"] = landmark_video(points, self.settings.size, style)
        return window


def mouth_boxes(points: np.ndarray, size: int, margin: float = 0.25) -> Tensor:
    """Boxes (S, 4) around the mouth of points (S, 68, 2), widened by `margin` on every side."""
    mouth = points[:, MOUTH]
    low, high = mouth.min(axis=1), mouth.max(axis=1)
    half = (high - low).max(axis=-1, keepdims=True) * (0.5 + margin)
    centre = (low + high) / 2
    box = np.concatenate([centre - half, centre + half], axis=-1)
    return torch.from_numpy(box.clip(0, size)).float()
