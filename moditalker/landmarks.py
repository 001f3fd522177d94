"""The iBUG 68 landmarks: their groups, contours and names, and the mean face.

Landmarks are float arrays `(..., 68, 3)`, or `(..., 68, 2)` without depth. In image space x points
right, y down, z towards the viewer, all in pixels; in canonical space x points to the viewer's
right, y up, z towards the viewer, the origin lies midway between the outer eye corners and the unit
is the distance between them in the mean face. Left and right are the viewer's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

COUNT = 68
JAW = slice(0, 17)
BROWS = slice(17, 27)
NOSE = slice(27, 36)
EYES = slice(36, 48)
MOUTH = slice(48, 68)
NOSE_BASE = 33
CHIN = 8
OUTER_EYE_CORNERS = (36, 45)
INNER_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))

LIP_GROUP: tuple[int, ...] = (*range(0, 17), *range(48, 68))
NON_LIP_GROUP: tuple[int, ...] = tuple(range(17, 48))

# Points that speech does not move, for the aligner: eye corners and nose bridge firmly, the nose
# base less (the upper lip pulls at it), the brows hardly (they rise with emphasis).
_STABLE = {
    **dict.fromkeys((36, 39, 42, 45), 1.0),
    **dict.fromkeys((27, 28, 29, 30), 1.0),
    **dict.fromkeys((31, 32, 33, 34, 35), 0.5),
    **dict.fromkeys(range(17, 27), 0.1),
}
STABLE_POINTS: tuple[int, ...] = tuple(_STABLE)
STABLE_WEIGHTS: tuple[float, ...] = tuple(_STABLE.values())

CONTOURS: dict[str, tuple[int, ...]] = {
    "jaw": tuple(range(0, 17)),
    "right_brow": tuple(range(17, 22)),
    "left_brow": tuple(range(22, 27)),
    "nose_bridge": tuple(range(27, 31)),
    "nose_base": tuple(range(31, 36)),
    "right_eye": (*range(36, 42), 36),
    "left_eye": (*range(42, 48), 42),
    "outer_lips": (*range(48, 60), 48),
    "inner_lips": (*range(60, 68), 60),
}
"""Polylines by name, in iBUG's terms: the person's right eye is the viewer's left one."""


def _names() -> tuple[str, ...]:
    names = [f"{part}_{k}" for part, run in CONTOURS.items() for k in range(len(set(run)))]
    return tuple(names)


NAMES: tuple[str, ...] = _names()
"""One name for each of the 68 points, such as `jaw_8` (the chin) or `inner_lips_2`."""

# The landmark that stands in each point's place when the face is mirrored.
MIRROR: tuple[int, ...] = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip

ASSETS = Path(__file__).parent / "assets" / "faces"


@lru_cache(maxsize=1)
def _mean_face() -> np.ndarray:
    mean = np.loadtxt(ASSETS / "mean_face.csv", delimiter=",", comments="#", dtype=np.float32)
    mean.setflags(write=False)
    return mean


def mean_face() -> np.ndarray:
    """Return the mean face in canonical space, float32 `(68, 3)`; symmetric, mouth closed."""
    return _mean_face().copy()


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Return the mean distance of the three inner lip pairs, `(..., 68, 2|3) -> (...)`.

    In the landmarks' own unit: eye distances for canonical ones, pixels for those of an image.
    """
    upper, lower = np.transpose(INNER_LIP_PAIRS)
    return np.linalg.norm(landmarks[..., upper, :] - landmarks[..., lower, :], axis=-1).mean(-1)


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Return the distance between the outer eye corners, `(..., 68, 2|3) -> (...)`."""
    right, left = OUTER_EYE_CORNERS
    return np.linalg.norm(landmarks[..., left, :] - landmarks[..., right, :], axis=-1)
