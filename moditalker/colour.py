"""Gives a generated crop the colours of its source, by the skin that both of them show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from moditalker.face_mask import block_mean, skin_above

GRID = 64  # colours are compared in so many blocks along each side
# Of the correction before, what stays in the next frame. Little of the overall one, or flicker of
# the generator would pass; much of the field, which also sees what speech moves.
MEMORY, FIELD_MEMORY = 0.1, 0.85

# BT.601: one lightness and two colour differences, so that a gain does not turn hues.
OPPONENT = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
OUTLIER = 14.0  # levels by which a block may differ from the usual difference
GAIN_LIMITS = (0.85, 1.18)
GAIN_PRIOR = np.array([6.0, 8.0, 8.0]) ** 2  # variance that speaks for a gain of 1, levels²
FIELD_REACH = 4.0  # blocks that a local difference spreads over
FIELD_MOST = 12.0  # levels

Region = tuple[slice, slice]  # rows and columns of a crop
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Correction:
    """colour + shift + (gain - 1) (colour - pivot) in opponent colours, plus a soft local field."""

    gain: np.ndarray
    "(3,)"
    shift: np.ndarray
    "(3,) levels"
    pivot: np.ndarray
    "(3,) levels"
    field: np.ndarray
    "(3, blocks, blocks) RGB levels"

    def blend(self, new: Correction) -> Correction:
        """This correction, moved towards that of the next frame."""
        return Correction(
            MEMORY * self.gain + (1 - MEMORY) * new.gain,
            MEMORY * self.shift + (1 - MEMORY) * new.shift,
            MEMORY * self.pivot + (1 - MEMORY) * new.pivot,
            FIELD_MEMORY * self.field + (1 - FIELD_MEMORY) * new.field,
        )

    def globally(self, image: np.ndarray) -> np.ndarray:
        """The correction of RGB planes (3, ...) without the field."""
        back = np.linalg.inv(OPPONENT)
        matrix = (back @ (self.gain[:, None] * OPPONENT)).astype(np.float32)
        offset = (back @ (self.shift - (self.gain - 1) * self.pivot)).astype(np.float32)
        return (matrix @ image.reshape(3, -1) + offset[:, None]).reshape(image.shape)

    def apply(self, image: np.ndarray, region: Region) -> np.ndarray:
        """The whole correction of the `region` of planes (3, N, N)."""
        rows, columns = region
        scale = self.field.shape[-1] / image.shape[-1]
        left, top, right, bottom = columns.start, rows.start, columns.stop, rows.stop
        box = (left * scale, top * scale, right * scale, bottom * scale)
        part = self.globally(image[:, rows, columns])
        return part + resize_planes(self.field, part.shape[1:], box)


class ColourMatcher:
    """Finds the corrections of a shot, frame after frame."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far: a new shot begins."""
        self.correction: Correction | None = None

    def __call__(
        self, generated: np.ndarray, reference: np.ndarray, mask: np.ndarray, source: np.ndarray
    ) -> Correction:
        """What gives a crop (3, N, N) the colours of its `reference`, the source's crop.

        `mask` (N, N) and the landmarks `source` (68, 2) say where both should agree.
        """
        step = max(1, len(mask) // GRID)
        skin = skin_above(source, mask, step)
        border = 4 * block_mean(mask * (1 - mask), step)
        pictures = [block_mean(image, step) for image in (generated, reference)]
        correction = estimate(pictures[0], pictures[1], skin, border)
        if self.correction is not None:
            correction = self.correction.blend(correction)
        self.correction = correction
        return correction


def estimate(
    generated: np.ndarray, reference: np.ndarray, skin: np.ndarray, border: np.ndarray
) -> Correction:
    """The correction that one pair of pictures (3, n, n) asks for, by weights (n, n)."""
    weights = skin * inliers(reference - generated, skin)
    opponents = [np.tensordot(OPPONENT, image, 1) for image in (generated, reference)]
    gain, shift, pivot = match_statistics(opponents[0], opponents[1], weights)
    overall = Correction(gain, shift, pivot, np.zeros_like(generated))
    rest = reference - overall.globally(generated)
    weights = np.maximum(skin, border) * inliers(rest, skin)
    return Correction(gain, shift, pivot, spread_field(rest, weights))


def inliers(difference: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Weight (n, n): small where a difference (3, n, n) is unlike the skin's usual one."""
    known = difference[:, skin > 0.5]
    usual = np.median(known, axis=1) if known.size else np.zeros(3)
    off = np.sqrt(((difference - usual[:, None, None]) ** 2).mean(axis=0)) / OUTLIER
    return np.clip(1 - off**2, 0, 1) ** 2


def match_statistics(
    generated: np.ndarray, reference: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gain, shift and pivot (3,) by which `generated` (3, n, n) best meets `reference`.

    The gain is a regression's, drawn to 1 where the skin is too even to tell it, and limited.
    """
    total = weights.sum()
    if total < 1:
        return np.ones(3), np.zeros(3), np.zeros(3)
    share = weights / total
    pivot, goal = (share * generated).sum(axis=(1, 2)), (share * reference).sum(axis=(1, 2))
    off, goal_off = generated - pivot[:, None, None], reference - goal[:, None, None]
    spread, common = (share * off**2).sum(axis=(1, 2)), (share * off * goal_off).sum(axis=(1, 2))
    gain = np.clip((common + GAIN_PRIOR) / (spread + GAIN_PRIOR), *GAIN_LIMITS)
    return gain, goal - pivot, pivot


def spread_field(difference: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The difference (3, n, n) near where it is known, faded to none away from there."""
    from scipy.ndimage import gaussian_filter

    reach = FIELD_REACH * len(weights) / GRID
    known = gaussian_filter(weights, reach)
    total = gaussian_filter(difference * weights, (0, reach, reach))
    return np.clip(total / (known + 0.05), -FIELD_MOST, FIELD_MOST)


def resize_planes(values: np.ndarray, size: Sequence[int], box: Box | None = None) -> np.ndarray:
    """Planes (C, H, W) resized to (height, width) = `size`, bicubic; from `box` = x0, y0, x1, y1.

    The box is in PIL's coordinates, where pixel i covers [i, i + 1). Float32.
    """
    resized = np.empty((len(values), *size), dtype=np.float32)
    for target, plane in zip(resized, values.astype(np.float32, copy=False), strict=True):
        image = Image.fromarray(np.ascontiguousarray(plane))
        target[...] = image.resize((size[1], size[0]), Image.Resampling.BICUBIC, box)
    return resized
