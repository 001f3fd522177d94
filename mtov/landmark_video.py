"""Landmarks drawn as pictures: the condition that tells MToV where the mouth is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from moditalker.landmarks import CONTOURS

Style = Literal["dots", "contours"]
SUPERSAMPLING = 2
CHANNELS = (
    ("outer_lips", "inner_lips"),
    ("jaw",),
    ("right_brow", "left_brow", "nose_bridge", "nose_base", "right_eye", "left_eye"),
)


def landmark_video(points: np.ndarray, size: int, style: Style = "dots") -> Tensor:
    """Points (S, 68, 2) in pixels of a `size`² crop to video (3, S, size, size) in [-1, 1].

    `dots` is the paper's: white dots, radius 3 at 256², three equal channels. `contours` gives
    lips, jaw and the rest a channel each, and fills the open mouth, so that a closed and a slightly
    open mouth differ.
    """
    draw = draw_dots if style == "dots" else draw_contours
    frames = np.stack([draw(frame, size) for frame in points])
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def draw_dots(points: np.ndarray, size: int) -> np.ndarray:
    """Points (68, 2) as a binary picture (size, size, 3)."""
    image = Image.new("L", (size, size))
    brush, radius = ImageDraw.Draw(image), 3 * size / 256
    for x, y in points[:, :2]:
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.repeat(np.asarray(image)[..., None], 3, axis=2)


def draw_contours(points: np.ndarray, size: int) -> np.ndarray:
    """Points (68, 2) as anti-aliased lines in three channels (size, size, 3)."""
    points = points[:, :2] * SUPERSAMPLING
    channels = [draw_lines(points, names, size) for names in CHANNELS]
    return np.stack(channels, axis=-1)


def draw_lines(points: np.ndarray, names: Iterable[str], size: int) -> np.ndarray:
    """The named contours of supersampled points as one channel (size, size)."""
    image = Image.new("L", (size * SUPERSAMPLING,) * 2)
    brush, width = ImageDraw.Draw(image), max(1, round(2 * SUPERSAMPLING * size / 256))
    for name in names:
        line = [tuple(points[index]) for index in CONTOURS[name]]
        if name == "inner_lips":
            brush.polygon(line, fill=160)
        brush.line(line, fill=255, width=width, joint="curve")
    return np.asarray(image.reduce(SUPERSAMPLING))
