"""Pictures of moving landmarks: for previews, for the documentation and for training logs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from moditalker.landmarks import CONTOURS
from moditalker.motion import Motion

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

OVERSAMPLING = 3  # drawn so much larger, then reduced: PIL itself draws without anti-aliasing
GROUND: tuple[Colour, Colour] = ((30, 36, 50), (13, 16, 24))  # top and bottom
FACE: Colour = (41, 49, 68)
LINE: Colour = (139, 157, 190)
LIPS: Colour = (214, 92, 104)
LIP_LINE: Colour = (255, 158, 156)
MOUTH: Colour = (46, 14, 26)
EYES: Colour = (222, 230, 244)
IRIS: Colour = (70, 104, 148)
DOT: Colour = (247, 250, 255)

FRONTAL_SIDE, FRONTAL_CENTRE = 2.4, (0.0, -0.36)  # eye distances that a frontal picture shows
FOREHEAD = 1.75  # its height above the ears over the brows' height above them
MARGIN = 1.4  # side of a posed picture over the extent of the whole motion
CURVE_STEPS = 6  # straight pieces between two landmarks of a curve

# Filled shapes, then lines over them: (contour, colour, width at 512 pixels).
FILLS = (("right_eye", EYES), ("left_eye", EYES), ("outer_lips", LIPS), ("inner_lips", MOUTH))
STROKES = (
    ("jaw", LINE, 2.6), ("right_brow", LINE, 4.2), ("left_brow", LINE, 4.2),
    ("nose_bridge", LINE, 2.2), ("nose_base", LINE, 2.2), ("right_eye", LINE, 1.8),
    ("left_eye", LINE, 1.8), ("outer_lips", LIP_LINE, 2.2), ("inner_lips", LIP_LINE, 1.6),
)  # fmt: skip


def draw_landmarks(
    landmarks: np.ndarray, size: int = 512, background: np.ndarray | None = None
) -> np.ndarray:
    """Draw 68 points (68, 2 or 3) in pixels as a face: uint8 RGB (size, size, 3), anti-aliased.

    Over a `background` (size, size, 3), such as the frame that they belong to, only lines and dots
    are drawn.
    """
    scale = OVERSAMPLING * size / 512
    points = (np.asarray(landmarks, dtype=np.float64)[:, :2] + 0.5) * OVERSAMPLING
    if background is None:
        image = ground(size).resize((size * OVERSAMPLING,) * 2, Image.Resampling.BILINEAR)
    else:
        image = Image.fromarray(background).resize((size * OVERSAMPLING,) * 2)
    brush = ImageDraw.Draw(image)
    curves = {name: curve(points[list(run)], run[0] == run[-1]) for name, run in CONTOURS.items()}
    if background is None:
        fill_face(brush, points, curves)
    for name, colour, width in STROKES:
        brush.line(curves[name], fill=colour, width=max(1, round(width * scale)), joint="curve")
    draw_dots(brush, points, 2.3 * scale)
    return np.asarray(image.reduce(OVERSAMPLING))


def preview_frames(motion: Motion, size: int = 512) -> Iterator[np.ndarray]:
    """One picture (size, size, 3) a frame. The camera stands still: posed motion moves in it."""
    points = picture_points(motion, size)
    for frame in points:
        yield draw_landmarks(frame, size)


def picture_points(motion: Motion, size: int) -> np.ndarray:
    """Landmarks (T, 68, 2) in the pixels of a preview of `size`."""
    flat = motion.landmarks[..., :2].astype(np.float64)
    if motion.space == "frontal":
        scale = np.array([size, -size]) / FRONTAL_SIDE
        return (flat - FRONTAL_CENTRE) * scale + size / 2 - 0.5
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    side = MARGIN * max(float((high - low).max()), 1e-6)
    return (flat - (low + high) / 2) * (size / side) + size / 2 - 0.5


def fill_face(brush: ImageDraw.ImageDraw, points: np.ndarray, curves: dict[str, Points]) -> None:
    """The head's ground with a forehead that no landmark shows, then eyes, lips and open mouth."""
    brush.polygon(curves["jaw"] + forehead(points), fill=FACE)
    for name, colour in FILLS:
        brush.polygon(curves[name], fill=colour)
    for eye in (points[36:42], points[42:48]):
        x, y = eye.mean(axis=0)
        radius = 0.52 * np.linalg.norm(eye[1:3].mean(axis=0) - eye[4:6].mean(axis=0))
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=IRIS)


def forehead(points: np.ndarray) -> Points:
    """Half an ellipse from the left end of the jaw over the brows to its right end."""
    right, left = points[0], points[16]
    centre = (right + left) / 2
    angle = np.linspace(0, np.pi, 32)[1:-1, None]
    up = FOREHEAD * (points[[19, 24]].mean(axis=0) - centre)  # not the chin, which speech moves
    arc = centre + (left - right) / 2 * np.cos(angle) + up * np.sin(angle)
    return [(x, y) for x, y in arc.tolist()]


def draw_dots(brush: ImageDraw.ImageDraw, points: np.ndarray, radius: float) -> None:
    """A dot on each landmark."""
    for x, y in points:
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=DOT)


def curve(points: np.ndarray, closed: bool) -> Points:
    """A smooth curve through points (N, 2); a closed one repeats its first point at the end.

    Catmull-Rom with chord lengths as knots, so that uneven points make no bumps.
    """
    head = points[-2:-1] if closed else 2 * points[:1] - points[1:2]
    tail = points[1:2] if closed else 2 * points[-1:] - points[-2:-1]
    around = np.concatenate([head, points, tail])
    step = np.diff(around, axis=0)
    length = np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-6)
    slope = step / length
    tangent = (slope[:-1] * length[1:] + slope[1:] * length[:-1]) / (length[1:] + length[:-1])
    run = (np.arange(CURVE_STEPS) / CURVE_STEPS)[None, :, None]
    start, end = points[:-1, None], points[1:, None]
    leave, arrive = (tangent[:-1] * length[1:-1])[:, None], (tangent[1:] * length[1:-1])[:, None]
    ahead = (3 - 2 * run) * run**2
    smooth = start + ahead * (end - start) + run * (1 - run) * ((1 - run) * leave - run * arrive)
    return [(x, y) for x, y in (*smooth.reshape(-1, 2).tolist(), points[-1].tolist())]


@lru_cache(maxsize=4)
def ground(size: int) -> Image.Image:
    """A quiet vertical gradient, (size, size)."""
    top, bottom = np.array(GROUND, dtype=np.float64)
    ramp = top + (bottom - top) * np.linspace(0, 1, size)[:, None, None]
    picture = np.broadcast_to(np.round(ramp), (size, size, 3)).astype(np.uint8)
    return Image.fromarray(picture)
