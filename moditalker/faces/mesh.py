"""MediaPipe's face mesh: a rotated square of the image to 468 points, and those to iBUG 68.

Source: Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs
(arXiv 1907.06724).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from moditalker.faces.blaze import Detection
from moditalker.faces.runtime import Network
from moditalker.landmarks import ASSETS, OUTER_EYE_CORNERS, eye_distance

SIZE = 192
MARGIN = 1.5  # the network sees a square so many times as large as the face, as in MediaPipe
# From the highest brow point to the top of the mesh, in outer-eye distances: the median over 264
# frames of 60 people (10 % to 90 %: 0.26 to 0.32).
FOREHEAD = 0.29

MESH_TO_IBUG = (
    *(127, 234, 93, 132, 58, 172, 136, 150, 152, 379, 365, 397, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
"""The mesh vertex for each of the 68 points."""


@dataclass(frozen=True)
class Region:
    """A rotated square of the image."""

    centre: np.ndarray
    "(2,) x, y in pixels."
    side: float
    "In pixels."
    angle: float
    "Radians from the image's x axis to the square's, clockwise as seen."

    @property
    def axes(self) -> np.ndarray:
        """The square's right and down directions as rows, (2, 2)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, sin], [-sin, cos]])


def angle_of(direction: np.ndarray) -> float:
    """Angle of a vector (2, ...) to the x axis, in radians."""
    return float(np.arctan2(direction[1], direction[0]))


def region_of_detection(found: Detection) -> Region:
    """Where the mesh should look for a detected face."""
    low, high = found.box[:2], found.box[2:]
    angle = angle_of(found.points[1] - found.points[0])
    return Region((low + high) / 2, float((high - low).max()) * MARGIN, angle)


def region_of_landmarks(landmarks: np.ndarray) -> Region:
    """Where the mesh should look for a face that had these landmarks (68, 3) a frame ago."""
    right, left = OUTER_EYE_CORNERS
    turn = Region(np.zeros(2), 1.0, angle_of(landmarks[left] - landmarks[right]))
    upright = landmarks[:, :2] @ turn.axes.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    low[1] -= FOREHEAD * eye_distance(landmarks)
    return Region((low + high) / 2 @ turn.axes, float((high - low).max()) * MARGIN, turn.angle)


def cut(image: np.ndarray, region: Region, size: int = SIZE) -> np.ndarray:
    """Sample the rotated square as an image (size, size, 3); black outside the frame.

    A large square is averaged over whole pixels first, so that fine texture does not alias: that
    would make landmarks tremble.
    """
    reach = region.side / 2 * np.abs(region.axes[0]).sum() + 2
    low = np.maximum(np.floor(region.centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(region.centre + reach) + 1, image.shape[1::-1]).astype(int)
    if (high <= low).any():
        return np.zeros((size, size, 3), np.uint8)
    part = Image.fromarray(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
    factor = max(1, int(region.side / size))
    part = part.reduce(factor) if factor > 1 else part
    # PIL takes output pixel edges to input pixel edges, where a pixel covers [i, i + 1).
    step = region.axes.T * (region.side / size / factor)
    origin = (region.centre + 0.5 - low) / factor - step @ np.full(2, size / 2)
    data = (*step[0], origin[0], *step[1], origin[1])
    transformed = part.transform(
        (size, size), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
    )
    return np.asarray(transformed)


class FaceMesh:
    """The landmark network."""

    def __init__(self, folder: Path = ASSETS) -> None:
        self.network = Network(folder / "face_landmark.tflite")

    def __call__(self, image: np.ndarray, region: Region) -> tuple[np.ndarray, float]:
        """The iBUG landmarks (68, 3) in pixels, and how sure a face is there, 0 to 1."""
        picture = cut(image, region)
        points, logit = self.network(picture[None].astype(np.float32) / 255.0)
        mesh = points.reshape(468, 3)[list(MESH_TO_IBUG)].astype(np.float64) / SIZE
        # The network counts pixel edges, the image pixel centres, and region.centre is one.
        flat = (mesh[:, :2] - 0.5) @ region.axes * region.side + region.centre
        # MediaPipe's z grows away from the camera, in the scale of x.
        depth = -mesh[:, 2:] * region.side
        presence = 1 / (1 + np.exp(-np.clip(float(logit.item()), -80, 80)))
        return np.concatenate([flat, depth], axis=1), float(presence)
