"""The region that the composite replaces: mouth, jaw and chin, feathered, steady in time.

Regions are convex and are held as support functions, h(direction) = the furthest extent of the
region that way. Then the union of two hulls is a maximum, a margin is a sum, and a blend in time is
a blend of numbers; each gives a convex region again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from moditalker.aligner import CROP_SIDE
from moditalker.landmarks import BROWS, EYES, JAW, MOUTH, NOSE_BASE, OUTER_EYE_CORNERS

DIRECTIONS = 72
CHIN = slice(5, 12)
UPPER_LIP = (49, 50, 51, 52, 53)

# Lengths in outer-eye distances.
CHIN_MARGIN = 0.045  # of full weight: a decoder draws the chin less exactly than landmarks say
LIP_MARGIN = 0.04
BELOW_EYES = 0.12
TOP_FRACTION = 0.75  # of the way from the nose base to the lip, where the full weight begins
CHEEK_START, CHEEK_WIDTH, CHEEK_MOST = 0.2, 0.4, 0.2  # the upper feather widens beside the mouth
WINDOW_FADE = 0.08  # at the crop's border

# How much of a change one frame follows: of a growing region, which must not cut a falling jaw, of
# a shrinking one, and of its upper edge.
GROWTH, RELEASE, STEADY = 0.7, 0.3, 0.4


@dataclass(frozen=True)
class FaceFrame:
    """Axes that turn and move with the face in crop pixels: x to the viewer's right, y to the chin.

    The unit is the outer-eye distance of the pose, so a turned head keeps its size.
    """

    origin: np.ndarray
    "(2,) midpoint of the outer eye corners, pixels."
    axes: np.ndarray
    "(2, 2) unit vectors as rows."
    unit: float
    "pixels"

    @classmethod
    def of(cls, landmarks: np.ndarray, size: int) -> FaceFrame:
        """The frame of landmarks (68, 2) in a crop of `size`."""
        right, left = landmarks[list(OUTER_EYE_CORNERS), :2].astype(np.float64)
        along = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
        axes = np.stack([along, (-along[1], along[0])])
        return cls((left + right) / 2, axes, size / CROP_SIDE)

    def to_face(self, points: np.ndarray) -> np.ndarray:
        """Crop pixels (..., 2) to face coordinates."""
        return (points[..., :2] - self.origin) @ self.axes.T / self.unit

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Face coordinates (..., 2) to crop pixels."""
        return points @ self.axes * self.unit + self.origin

    def grid(self, size: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Face coordinates x and y of blocks of `step` pixels, each (size / step, size / step)."""
        centres = (np.arange(size // step, dtype=np.float32) + 0.5) * step - 0.5
        columns, rows = centres[None, :] - self.origin[0], centres[:, None] - self.origin[1]
        x, y = (columns * axis[0] + rows * axis[1] for axis in self.axes / self.unit)
        return x.astype(np.float32), y.astype(np.float32)


def directions() -> np.ndarray:
    """(DIRECTIONS, 2) unit vectors around the circle."""
    angle = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def support(points: np.ndarray) -> np.ndarray:
    """Support function (DIRECTIONS,) of the hull of points (N, 2)."""
    return (points @ directions().T).max(axis=0)


def region_corners(extent: np.ndarray) -> np.ndarray:
    """Corners (DIRECTIONS, 2) of the region of a support function: where its tangents meet."""
    along = directions()
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    turn = 2 * np.pi / DIRECTIONS
    reach = (np.roll(extent, -1) - extent * np.cos(turn)) / np.sin(turn)
    return extent[:, None] * along + reach[:, None] * across


def fill(corners: np.ndarray, size: int) -> np.ndarray:
    """A polygon (N, 2) in pixels as coverage (size, size) float32 in [0, 1]."""
    image = Image.new("L", (2 * size, 2 * size))
    points = [(x, y) for x, y in (2 * corners + 0.5).tolist()]
    ImageDraw.Draw(image).polygon(points, fill=255)
    return np.asarray(image.reduce(2), dtype=np.float32) / 255


def smoothstep(values: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    clipped = np.clip(values, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


class LowerFaceMask:
    """Makes the masks of a shot, frame after frame."""

    def __init__(self, feather: float) -> None:
        """`feather`: standard deviation of the soft edge, in outer-eye distances."""
        self.feather = feather
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far: a new shot begins."""
        self.extent: np.ndarray | None = None
        self.edges: np.ndarray | None = None

    def __call__(self, source: np.ndarray, generated: np.ndarray, size: int) -> np.ndarray:
        """The weight (size, size) float32 of the generated picture in a crop.

        From the landmarks (68, 2) of the source's face and of the generated one, in crop pixels. It
        is 1 on both mouths, jaws and chins, and 0 above the nose base, at the eyes, and at the
        crop's border.
        """
        from scipy.ndimage import gaussian_filter

        frame = FaceFrame.of(source, size)
        faces = np.stack([frame.to_face(source), frame.to_face(generated)])
        corners = frame.to_crop(region_corners(self.follow_extent(faces)))
        soft = gaussian_filter(fill(corners, size), self.feather * frame.unit, truncate=3)
        x, y = frame.grid(size)
        return soft * self.upper_edge(faces, x, y) * window_fade(size)

    def follow_extent(self, faces: np.ndarray) -> np.ndarray:
        """Support function of both lower faces (2, 68, 2) with margins, steady in time."""
        down = np.clip(directions()[:, 1], 0, 1) ** 2
        extent = np.max(
            [
                support(faces[:, points].reshape(-1, 2)) + margin + edge * self.feather
                for points, margin, edge in (
                    (CHIN, CHIN_MARGIN * down, 1.7),
                    (MOUTH, LIP_MARGIN, 1.5),
                    # Speech hardly moves the jaw's sides: what a decoder invents of the hair and
                    # the ground behind them stays out.
                    (JAW, 0.0, 0.6),
                )
            ],
            axis=0,
        )
        if self.extent is not None:
            change = extent - self.extent
            extent = self.extent + np.where(change > 0, GROWTH, RELEASE) * change
        self.extent = extent
        return extent

    def upper_edge(self, faces: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Weight along the nose base: 0 above it, 1 from above the upper lip on."""
        start = max(faces[0, NOSE_BASE, 1], faces[0, EYES, 1].max() + BELOW_EYES)
        lip = max(float(faces[:, UPPER_LIP, 1].min()), start + 0.04)
        edges = np.array([start, lip, faces[:, 48:60, 0].mean()])
        if self.edges is not None:
            edges = self.edges + STEADY * (edges - self.edges)
        self.edges = edges
        start, lip, middle = edges
        beside = CHEEK_MOST * smoothstep((abs(x - middle) - CHEEK_START) / CHEEK_WIDTH)
        return smoothstep((y - start) / (TOP_FRACTION * (lip - start) + beside))


def mouth_region(source: np.ndarray, generated: np.ndarray, size: int) -> np.ndarray:
    """(size, size) 1 on the mouths of both landmarks (68, 2) in crop pixels, 0 away from them."""
    from scipy.ndimage import gaussian_filter

    frame = FaceFrame.of(source, size)
    lips = frame.to_face(np.concatenate([source[MOUTH, :2], generated[MOUTH, :2]]))
    corners = frame.to_crop(region_corners(support(lips) + LIP_MARGIN))
    return gaussian_filter(fill(corners, size), LIP_MARGIN / 2 * frame.unit, truncate=2.5)


def window_fade(size: int) -> np.ndarray:
    """(size, size) 0 at the crop's border, 1 a little inside it."""
    inside = np.minimum(np.arange(size), np.arange(size)[::-1]).astype(np.float32)
    line = smoothstep(inside / (WINDOW_FADE * size))
    return line[:, None] * line[None, :]


def skin_above(source: np.ndarray, mask: np.ndarray, step: int) -> np.ndarray:
    """Weight of the skin from below the eyes to the mask, one number per block of `step` pixels.

    There the generated picture repeats the source, so there their colours can be compared.
    """
    size = mask.shape[0]
    frame = FaceFrame.of(source, size)
    face = frame.to_face(source)
    hull = np.concatenate([face[JAW], face[BROWS]])
    inner = frame.to_crop(region_corners(support(hull) - 0.06))
    below = smoothstep((frame.grid(size, step)[1] - face[EYES, 1].max() - 0.04) / 0.06)
    return block_mean(fill(inner, size) * (1 - mask), step) * below


def block_mean(values: np.ndarray, step: int) -> np.ndarray:
    """(..., N, N) averaged over blocks of `step` pixels."""
    count = values.shape[-1] // step
    used = values[..., : count * step, : count * step]
    rows = used.reshape(*used.shape[:-2], count, step, count * step).mean(axis=-2)
    return rows.reshape(*rows.shape[:-1], count, step).mean(axis=-1)
