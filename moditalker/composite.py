"""The composite: the generated lower face in the full frame, without a seam (DESIGN §6)."""

from __future__ import annotations

import math

import numpy as np

from moditalker.colour import ColourMatcher, Region, resize_planes
from moditalker.errors import SettingsError
from moditalker.face_mask import LowerFaceMask, mouth_region

SMALLEST_WEIGHT = 1 / 512  # a smaller one cannot change a pixel's value
TEXTURE_SCALE = 2.0 / 256  # of the crop: finer than this is texture
# Levels of disagreement at which the source's texture stays out: on skin, and at the mouths, where
# what is left of the source's own mouth would show.
SKIN_TOLERANCE, MOUTH_TOLERANCE = 16.0, 5.0

Window = tuple[float, float, float]  # x0, y0, side in the frame's pixels
RegionWindow = tuple[float, float, float]  # x0, y0, frame pixels per crop pixel


class Compositor:
    """Puts generated crops into the frames of one shot, in order.

    It remembers the frames before, so that the mask and the colours move smoothly: call `reset`
    between shots.
    """

    def __init__(
        self, *, feather: float = 0.04, colour_match: bool = True, keep_texture: bool = True
    ) -> None:
        """Settings of the composite.

        `feather`: softness of the mask's edge, a standard deviation in outer-eye distances.
        `colour_match`: take the source's colours. `keep_texture`: where both pictures agree, keep
        the source's fine texture, which the generated one is too coarse to have.
        """
        if not 0 < feather <= 0.2:
            raise SettingsError(f"feather is {feather}; it must be above 0 and at most 0.2.")
        self.colour_match, self.keep_texture = colour_match, keep_texture
        self.mask, self.colours = LowerFaceMask(feather), ColourMatcher()

    def reset(self) -> None:
        """Forget the frames so far: a new shot begins."""
        self.mask.reset()
        self.colours.reset()

    def compose(
        self,
        frame: np.ndarray,
        generated_crop: np.ndarray,
        reference_crop: np.ndarray,
        landmarks_crop: np.ndarray,
        landmarks_generated: np.ndarray,
        window: Window,
    ) -> np.ndarray:
        """The frame (H, W, 3) uint8 with the generated lower face; a new array.

        `generated_crop` and `reference_crop`, the frame's own, are (N, N, 3) uint8 and show the
        `window` (x0, y0, side) of the frame; the landmarks (68, 2 or 3) of both are in crop pixels.
        Pixels where the mask is 0 stay bit-identical.
        """
        generated, reference = planar(generated_crop), planar(reference_crop)
        mask = self.mask(landmarks_crop, landmarks_generated, generated.shape[-1])
        result = frame.copy()
        region = touched(mask)
        if region is None:
            return result
        rows, columns = region
        picture, share = generated[:, rows, columns], np.zeros_like(mask[region])
        if self.colour_match:
            correction = self.colours(generated, reference, mask, landmarks_crop)
            picture = correction.apply(generated, region)
        if self.keep_texture:
            mouths = mouth_region(landmarks_crop, landmarks_generated, len(mask))[region]
            scale = TEXTURE_SCALE * len(mask)
            picture, share = split_texture(picture, reference[:, rows, columns], mouths, scale)
        planes = np.concatenate([picture, share[None], mask[None, rows, columns]])
        paste(result, planes, region_window(region, window, len(mask)))
        return result


def planar(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to float32 planes (3, H, W)."""
    return np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)


def touched(mask: np.ndarray) -> Region | None:
    """The rows and columns where a mask is not 0, with two more for the interpolation."""
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        if not len(used):
            return None
        spans.append(slice(max(int(used[0]) - 2, 0), min(int(used[-1]) + 3, len(mask))))
    return spans[0], spans[1]


def split_texture(
    generated: np.ndarray, reference: np.ndarray, mouths: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """What to add to `share` times the frame: (3, h, w), and the share (h, w) in [0, 1].

    Where the share is 1, the two together are the frame itself, moved by the coarse difference of
    the pictures: so a picture that equals its reference gives back the frame in full detail. Where
    the pictures differ, the share goes to 0 and the generated picture stands alone. Skin may differ
    in texture; the `mouths` (h, w), weights in [0, 1], may not. `scale`: what is finer than so many
    pixels is texture.
    """
    from scipy.ndimage import gaussian_filter

    difference = generated - reference
    coarse = gaussian_filter(difference, (0, scale, scale), truncate=2.5)
    off = np.abs(coarse + mouths * (difference - coarse)).max(axis=0)
    off = gaussian_filter(off, scale, truncate=2.5)
    tolerance = SKIN_TOLERANCE + (MOUTH_TOLERANCE - SKIN_TOLERANCE) * mouths
    share = np.exp(-((off / tolerance) ** 2))
    return (1 - share) * generated + share * coarse, share


def region_window(region: Region, window: Window, size: int) -> RegionWindow:
    """Where a region of a crop of `size` lies in the frame: x0, y0, and the scale."""
    rows, columns = region
    scale = window[2] / size
    return window[0] + columns.start * scale, window[1] + rows.start * scale, scale


def paste(frame: np.ndarray, planes: np.ndarray, place: RegionWindow) -> None:
    """Blend planes (5, h, w) into a frame: picture, share of the frame, mask.

    The planes are read at the frame's pixels, by the inverse of the crop's extraction.
    """
    x0, y0, scale = place
    left, right = whole_pixels(x0, planes.shape[2] * scale, frame.shape[1])
    top, bottom = whole_pixels(y0, planes.shape[1] * scale, frame.shape[0])
    if left >= right or top >= bottom:
        return
    x_low, x_high = ((edge - 0.5 - x0) / scale for edge in (left, right))
    y_low, y_high = ((edge - 0.5 - y0) / scale for edge in (top, bottom))
    box = (x_low, y_low, x_high, y_high)
    *picture, share, mask = resize_planes(planes, (bottom - top, right - left), box)
    mask = np.where(mask < SMALLEST_WEIGHT, 0, np.minimum(mask, 1))
    keep = 1 - mask * (1 - np.clip(share, 0, 1))
    area = frame[top:bottom, left:right]
    for channel, plane in enumerate(picture):
        blended = area[..., channel] * keep + plane * mask
        area[..., channel] = np.clip(blended + 0.5, 0, 255.5)


def whole_pixels(start: float, length: float, limit: int) -> tuple[int, int]:
    """First and one past the last pixel wholly in [start, start + length) and in the frame."""
    first, end = math.ceil(start + 0.5 - 1e-6), math.floor(start + length - 0.5 + 1e-6) + 1
    return max(first, 0), min(end, limit)
