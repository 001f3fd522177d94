"""From posed landmarks to generated frames: crops, conditions, MToV, composite, clip by clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moditalker.aligner import CropWindows, apply_affine
from moditalker.composite import Compositor
from moditalker.landmarks import NON_LIP_GROUP, NOSE_BASE
from moditalker.presets import Networks
from moditalker.progress import Progress
from moditalker.reference import Reference
from moditalker.settings import GenerateSettings
from mtov.conditions import align_identity, cut_pose_frames
from mtov.landmark_video import landmark_video
from mtov.sampling import generate_clips

POSE_CUT_MARGIN = 3 / 256  # of the crop: the cut lies so far above the nose base, as in training


@dataclass
class Identity:
    """The reference frame that lends its texture to the whole video."""

    crop: np.ndarray
    "(size, size, 3) uint8."
    affine: np.ndarray
    "(2, 4) canonical to crop pixels."


class Renderer:
    """Draws the frames of one video, a few clips at a time, so that memory stays bounded."""

    def __init__(
        self,
        networks: Networks,
        identity: Identity,
        settings: GenerateSettings,
        seed: int,
        progress: Progress,
    ) -> None:
        self.networks, self.identity, self.seed = networks, identity, seed
        self.sampling, self.progress = settings.mtov, progress
        self.compositor = Compositor(
            colour_match=settings.composite.colour_match,
            keep_texture=settings.composite.keep_texture,
        )
        self.device = next(networks.unet.parameters()).device

    def frames(
        self,
        images: Iterator[np.ndarray],
        shown: Reference,
        frontal: np.ndarray,
        crop_only: bool,
    ) -> Iterator[np.ndarray]:
        """Generated frames, or crops, for the source's `images` in the order of the output.

        `shown` is the reference as the output shows it, `frontal` the motion (F, 68, 3) at its times.
        """
        size, windows = self.networks.size, shown.windows
        self.tracked = windows.to_crop(shown.landmarks, size)
        self.affine = windows.affine_to_crop(shown.affine, size)
        self.points = apply_affine(self.affine, frontal)
        tail: list[np.ndarray] = []
        held: list[np.ndarray] = []
        for start, stop in self.batches(len(shown)):
            while len(held) < stop - start:
                held.append(next(images))
            crops, generated = self.batch(held, windows, start, stop)
            generated = blended(tail, generated)
            last = stop == len(shown)
            whole = len(generated) if last else len(generated) - self.sampling.overlap
            for offset in range(whole):
                pictures = held[offset], crops[offset], generated[offset]
                window = windows.window_box(start + offset)
                yield pictures[2] if crop_only else self.put_in(*pictures, start + offset, window)
                self.progress.update(start + offset + 1, len(shown))
            tail, held = generated[whole:], held[whole:]

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
        self, images: list[np.ndarray], windows: CropWindows, start: int, stop: int
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The source's crops and the generated ones of frames start to stop."""
        size, span = self.networks.size, np.arange(start, stop)
        with self.progress.part("crop"):
            crops = [
                windows.extract(image, int(frame), size)
                for image, frame in zip(images, span, strict=False)
            ]
        clips = self.clips(len(span))
        with self.progress.part("conditions"):
            given = self.conditions(np.stack(crops), span)
        given = [torch.stack([one[:, list(clip)] for clip in clips]) for one in given]
        with self.progress.part("generate"):
            drawn = self.draw(given)
        generated: list[np.ndarray] = []
        for clip, video in zip(clips, drawn, strict=True):
            fresh = len(set(clip))
            pixels = ((video[:, :fresh].clamp(-1, 1) + 1) * 127.5).round().byte()
            parts = list(pixels.permute(1, 2, 3, 0).numpy())
            shared = len(generated) - clip[0]
            tail = generated[clip[0] :]
            generated = generated[: clip[0]] + blended(tail[:shared], parts)
        return crops, generated

    def clips(self, count: int) -> list[list[int]]:
        """Frame numbers of each clip within a group; the last is filled with its last frame."""
        length, overlap = self.networks.frames, self.sampling.overlap
        starts = range(0, max(1, count - overlap), length - overlap)
        return [[min(frame, count - 1) for frame in range(s, s + length)] for s in starts]

    def conditions(self, crops: np.ndarray, span: np.ndarray) -> list[Tensor]:
        """Landmark video, pose frames and identity frames, each (3, F, size, size)."""
        size = self.networks.size
        video = torch.from_numpy(crops).permute(3, 0, 1, 2).float() / 127.5 - 1
        tracked, points = self.tracked[span, :, :2], self.points[span]
        # Eyes and brows are those that the pose frames show.
        points[:, NON_LIP_GROUP] = tracked[:, NON_LIP_GROUP]
        nose = torch.from_numpy(tracked[:, NOSE_BASE, 1]).float() - POSE_CUT_MARGIN * size
        affine = self.affine[span]
        identity = torch.from_numpy(self.identity.crop.copy()).permute(2, 0, 1).float() / 127.5 - 1
        source = torch.from_numpy(self.identity.affine)
        return [
            landmark_video(points, size, self.networks.landmark_style),
            cut_pose_frames(video[None], nose[None])[0],
            align_identity(identity[None], source[None], torch.from_numpy(affine)[None])[0],
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
        self,
        image: np.ndarray,
        crop: np.ndarray,
        generated: np.ndarray,
        frame: int,
        window: tuple[float, float, float],
    ) -> np.ndarray:
        """The source's frame with the generated crop in it."""
        with self.progress.part("composite"):
            points = self.tracked[frame], self.points[frame]
            return self.compositor.compose(image, generated, crop, *points, window)


def blended(tail: list[np.ndarray], following: list[np.ndarray]) -> list[np.ndarray]:
    """Frames of the next clip, faded in over those that the clip before drew of the same moments."""
    mixed = list(following)
    for index, old in enumerate(tail):
        share = (index + 1) / (len(tail) + 1)
        mix = (1 - share) * old.astype(np.float32) + share * following[index]
        mixed[index] = (mix + 0.5).astype(np.uint8)
    return mixed
