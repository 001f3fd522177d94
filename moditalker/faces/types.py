"""What a face is, and what finds faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Face:
    """One face in one image."""

    box: np.ndarray
    "(4,) float32: x0, y0, x1, y1 around the landmarks, in pixels."
    score: float
    "How sure the detector is that this is a face, 0 to 1."
    landmarks: np.ndarray
    "(68, 3) float32, iBUG 68 in pixels: x right, y down, z towards the viewer."

    @classmethod
    def around(cls, landmarks: np.ndarray, score: float) -> Face:
        """The face with these landmarks (68, 3), and the box around them."""
        flat = landmarks[:, :2]
        box = np.concatenate([flat.min(axis=0), flat.max(axis=0)]).astype(np.float32)
        return cls(box, float(score), landmarks.astype(np.float32))

    @property
    def centre(self) -> np.ndarray:
        """Middle of the box, (2,) x, y."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def size(self) -> float:
        """Side of a square as large as the box, in pixels."""
        width, height = np.maximum(self.box[2:] - self.box[:2], 0)
        return float(np.sqrt(width * height))


class FaceDetector(Protocol):
    """Finds all faces of an image, and follows one from a frame to the next."""

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Every face of an RGB image (H, W, 3) uint8, the largest first."""
        ...

    def follow(self, image: np.ndarray, last: Face) -> Face | None:
        """The face that was `last` in the frame before, or None where it is lost."""
        ...


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    inner = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(inner, 0)))
    areas = [float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (first, second)]
    return shared / max(sum(areas) - shared, 1e-9)
