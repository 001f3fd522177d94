"""MediaPipe's BlazeFace detectors: letterbox, anchors, decoding, weighted suppression.

Source: Bazarevsky et al., BlazeFace (arXiv 1907.05047), and MediaPipe's graphs for the two models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from moditalker.faces.runtime import Network
from moditalker.faces.types import overlap
from moditalker.landmarks import ASSETS

LEAST_SCORE = 0.5
SAME_FACE_OVERLAP = 0.3
LOGIT_LIMIT = 80.0  # MediaPipe's 100 overflows float32


@dataclass(frozen=True)
class BlazeModel:
    """A detector file, its input size, and its grids of anchors: (stride, anchors per cell)."""

    file: str
    size: int
    grids: tuple[tuple[int, int], ...]


SHORT_RANGE = BlazeModel("face_detection_short_range.tflite", 128, ((8, 2), (16, 6)))
"""For faces from a sixth of the picture up; finds turned ones best."""
FULL_RANGE = BlazeModel("face_detection_full_range_sparse.tflite", 192, ((4, 1),))
"""For faces from a fifteenth of the picture up."""


@dataclass(frozen=True)
class Detection:
    """A detected face, in pixels of its image."""

    box: np.ndarray
    "(4,) x0, y0, x1, y1: from the brows to the chin."
    points: np.ndarray
    "(6, 2): the eyes (the viewer's left one first), nose tip, mouth, ears."
    score: float


def anchor_centres(model: BlazeModel) -> np.ndarray:
    """Centres of all anchors in the unit square, (A, 2) x, y, row by row."""
    grids = []
    for stride, repeats in model.grids:
        cells = model.size // stride
        x, y = np.meshgrid(*[(np.arange(cells) + 0.5) / cells] * 2)
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeats, axis=0))
    return np.concatenate(grids).astype(np.float32)


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit an image into a black square; return it and where its corner lies in the image, (2,).

    A point of the unit square lies at `point * max(height, width) + corner` in the image.
    """
    height, width = image.shape[:2]
    side = max(height, width)
    inner = max(1, round(width * size / side)), max(1, round(height * size / side))
    small = Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR, reducing_gap=1.0)
    square = np.zeros((size, size, 3), np.uint8)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    square[top : top + inner[1], left : left + inner[0]] = np.asarray(small)
    return square, -np.array([left, top]) * side / size - 0.5


def suppress(found: list[Detection]) -> list[Detection]:
    """Weighted non-maximum suppression: boxes of one face are averaged by their scores."""
    rest = sorted(found, key=lambda detection: -detection.score)
    kept = []
    while rest:
        best = rest[0]
        near = [k for k, d in enumerate(rest) if overlap(d.box, best.box) > SAME_FACE_OVERLAP]
        same = [rest[k] for k in near] or [best]
        weights = [d.score for d in same]
        box = np.average([d.box for d in same], axis=0, weights=weights)
        points = np.average([d.points for d in same], axis=0, weights=weights)
        kept.append(Detection(box, points, best.score))
        rest = [d for k, d in enumerate(rest) if k > 0 and k not in near]
    return kept


class BlazeFace:
    """One of MediaPipe's face detectors."""

    def __init__(self, model: BlazeModel, folder: Path = ASSETS) -> None:
        self.model = model
        self.anchors = anchor_centres(model)
        self.network = Network(folder / model.file)

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Faces of an RGB image (H, W, 3) uint8, the surest first."""
        square, corner = letterbox(image, self.model.size)
        raw, logits = self.network(square[None].astype(np.float32) / 127.5 - 1.0)
        logits = np.clip(logits.ravel(), -LOGIT_LIMIT, LOGIT_LIMIT)
        scores = 1 / (1 + np.exp(-logits))
        likely = np.flatnonzero(scores > LEAST_SCORE)
        points = self.decode(raw[0, likely], self.anchors[likely]) * max(image.shape[:2]) + corner
        boxes = points[:, :2].reshape(-1, 4)
        return suppress(
            [Detection(boxes[k], points[k, 2:], float(scores[n])) for k, n in enumerate(likely)]
        )

    def decode(self, raw: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """Outputs (N, 16) to two box corners and six points in the unit square, (N, 8, 2)."""
        points = raw.reshape(-1, 8, 2) / self.model.size
        centre, half = points[:, 0] + anchors, points[:, 1] / 2
        corners = np.stack([centre - half, centre + half], axis=1)
        return np.concatenate([corners, points[:, 2:] + anchors[:, None]], axis=1)
