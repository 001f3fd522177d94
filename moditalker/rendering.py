"""From posed landmarks to generated frames: crops, conditions, MToV, composite, clip by clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from moditalker.aligner import CropWindows, apply_affine
from moditalker.composite import Compositor
from moditalker.landmarks import NON_LIP_GROUP, NOSE_BASE
from moditalker.media import FrameSource
from moditalker.motion import Motion
from moditalker.presets import Networks
from moditalker.progress import Progress
from moditalker.reference import Reference, Seen
from moditalker.settings import GenerateSettings
from mtov.conditions import align_identity, cut_pose_frames
from mtov.landmark_video import landmark_video
from mtov.sampling import generate_clips

POSE_CUT_MARGIN = 3 / 256  # of the crop: the cut lies so far above the nose base, as in training


@dataclass(frozen=True)
class Identity:
    """The reference frame that lends its texture to the whole video."""

    crop: np.ndarray
    "(size, size, 3) uint8."
    affine: np.ndarray
    "(2, 4) canonical to crop pixels."

    @classmethod
    def of(cls, source: FrameSource, reference: Reference, size: int) -> Identity:
        """The reference's own choice of a frame."""
        frame = reference.identity_frame()
        crop = reference.windows.extract(source[frame], frame, size)
        return cls(crop, reference.windows.affine_to_crop(reference.affine, size)[frame])


@dataclass(frozen=True)
class Posed:
    """Landmarks of the whole output, in the pixels of each frame's crop."""

    windows: CropWindows
    tracked: np.ndarray
    "(F, 68, 3) the reference's own."
    generated: np.ndarray
    "(F, 68, 2) the motion's, posed by the reference's maps."
    affine: np.ndarray
    "(F, 2, 4) canonical to crop pixels."
    shots: np.ndarray
    "(F,) numbers that change at cuts."

    @classmethod
    def of(cls, shown: Reference, motion: Motion, size: int) -> Posed:
        """From the reference as it is shown, and frontal motion of any rate."""
        affine = shown.windows.affine_to_crop(shown.affine, size)
        generated = apply_affine(affine, motion.resample(shown.times).landmarks)
        tracked = shown.windows.to_crop(shown.landmarks, size)
        return cls(shown.windows, tracked, generated, affine, shown.shots())

    def __len__(self) -> int:
        return len(self.affine)


class Renderer:
    """Draws the frames of one video, a few clips at a time, so that memory stays bounded."""

    def __init__(
        self, networks: Networks, settings: GenerateSettings, seed: int, progress: Progress
    ) -> None:
        self.networks, self.seed = networks, seed
        self.sampling, self.progress = settings.mtov, progress
        self.compositor = Compositor(
            colour_match=settings.composite.colour_match,
            keep_texture=settings.composite.keep_texture,
        )
        self.device = next(networks.unet.parameters()).device

    def size_of(self, source: FrameSource, crop_only: bool) -> tuple[int, int]:
        """Width and height of the frames."""
        size = self.networks.size
        return (size, size) if crop_only else (source.info.width, source.info.height)

    def frames(
        self, source: FrameSource, seen: Seen, motion: Motion, crop_only: bool = False
    ) -> Iterator[np.ndarray]:
        """Generated frames, or crops, in the order of the output, for frontal motion."""
        size = self.networks.size
        self.identity = Identity.of(source, seen.whole, size)
        self.posed = Posed.of(seen.shown, motion, size)
        images = source.read(seen.indices)
        count = len(self.posed)
        held: list[np.ndarray] = []
        tail: list[np.ndarray] = []
        for start, stop in self.batches(count):
            with self.progress.part("decode"):
                held += islice(images, stop - start - len(held))
            crops, generated = self.batch(held, start)
            generated = blended(tail, generated)
            done = stop if stop == count else stop - self.sampling.overlap
            for frame in range(start, done):
                here = frame - start
                drawn = generated[here]
                yield drawn if crop_only else self.put_in(held[here], crops[here], drawn, frame)
                self.progress.update(frame + 1, count)
            tail, held = generated[done - start :], held[done - start :]

    def batches(self, count: int) -> Iterator[tuple[int, int]]:
        """First and past-last frames of groups of clips that share `overlap` frames."""
        stride = self.networks.frames - self.sampling.overlap
        group = stride * self.sampling.batch
        start = 0
        while True:
            stop = min(start + group + self.sampling.overlap, count)
            yield start, stop
            if stop == count:
                return
            start += group

    def batch(
        self, images: list[np.ndarray], start: int
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The source's crops, and the generated ones, of images from frame `start` on."""
        size = self.networks.size
        with self.progress.part("crop"):
            crops = [
                self.posed.windows.extract(image, frame, size)
                for frame, image in enumerate(images, start)
            ]
        clips = self.clips(len(images))
        with self.progress.part("conditions"):
            whole = self.conditions(np.stack(crops), np.arange(start, start + len(crops)))
            given = [torch.stack([one[:, clip] for clip in clips]) for one in whole]
        with self.progress.part("networks"):
            drawn = self.draw(given)
        generated: list[np.ndarray] = []
        for clip, video in zip(clips, drawn, strict=True):
            pixels = pictures(video[:, : len(set(clip))])
            generated = generated[: clip[0]] + blended(generated[clip[0] :], pixels)
        return crops, generated

    def clips(self, count: int) -> list[list[int]]:
        """Frame numbers of each clip within a group; the last is filled with its last frame."""
        length, overlap = self.networks.frames, self.sampling.overlap
        starts = range(0, max(1, count - overlap), length - overlap)
        return [[min(frame, count - 1) for frame in range(s, s + length)] for s in starts]

    def conditions(self, crops: np.ndarray, span: np.ndarray) -> list[Tensor]:
        """Landmark video, pose frames and identity frames, each (3, F, size, size).

        `crops` (F, size, size, 3) are those of the frames `span` (F,).
        """
        size, affine = self.networks.size, torch.from_numpy(self.posed.affine[span])
        tracked, points = self.posed.tracked[span, :, :2], self.posed.generated[span]
        # Eyes and brows are those that the pose frames show.
        points[:, list(NON_LIP_GROUP)] = tracked[:, list(NON_LIP_GROUP)]
        nose = torch.from_numpy(tracked[:, NOSE_BASE, 1]).float() - POSE_CUT_MARGIN * size
        identity, source = video_tensor(self.identity.crop[None]), self.identity.affine
        return [
            landmark_video(points, size, self.networks.landmark_style),
            cut_pose_frames(video_tensor(crops)[None], nose[None])[0],
            align_identity(identity[None, :, 0], torch.from_numpy(source)[None], affine[None])[0],
        ]

    def draw(self, given: list[Tensor]) -> Tensor:
        """Clips (B, 3, S, size, size) for conditions of the same shape."""
        return generate_clips(
            self.networks.autoencoder,
            self.networks.landmark_encoder,
            self.networks.unet,
            self.networks.mtov_diffusion,
            *(one.to(self.device) for one in given),
            generator=torch.Generator().manual_seed(self.seed),
            steps=self.sampling.steps,
            batch=self.sampling.batch,
            sampler=self.sampling.sampler,  # type: ignore[arg-type]
        )

    def put_in(
        self, image: np.ndarray, crop: np.ndarray, generated: np.ndarray, frame: int
    ) -> np.ndarray:
        """The source's frame with the generated crop in it."""
        posed = self.posed
        if frame and posed.shots[frame] != posed.shots[frame - 1]:
            self.compositor.reset()
        with self.progress.part("composite"):
            return self.compositor.compose(
                image, generated, crop, posed.tracked[frame], posed.generated[frame],
                posed.windows.window_box(frame),
            )  # fmt: skip


def video_tensor(images: np.ndarray) -> Tensor:
    """Pictures (F, H, W, 3) uint8 as video (3, F, H, W) in [-1, 1]."""
    return torch.tensor(images).permute(3, 0, 1, 2).float() / 127.5 - 1


def pictures(video: Tensor) -> list[np.ndarray]:
    """Video (3, F, H, W) in [-1, 1] as pictures (H, W, 3) uint8."""
    levels = ((video.clamp(-1, 1) + 1) * 127.5).round().byte()
    return list(levels.permute(1, 2, 3, 0).cpu().numpy())


def blended(tail: list[np.ndarray], following: list[np.ndarray]) -> list[np.ndarray]:
    """Frames of the next clip, faded in over what the clip before drew of the same moments."""
    mixed = list(following)
    for index, old in enumerate(tail):
        share = (index + 1) / (len(tail) + 1)
        mix = (1 - share) * old.astype(np.float32) + share * following[index]
        mixed[index] = (mix + 0.5).astype(np.uint8)
    return mixed
