"""The default detector: MediaPipe's BlazeFace and face mesh, offline, run by LiteRT."""

from __future__ import annotations

import numpy as np

from moditalker.faces.blaze import (
    FULL_RANGE,
    SAME_FACE_OVERLAP,
    SHORT_RANGE,
    BlazeFace,
    Detection,
)
from moditalker.faces.mesh import FaceMesh, Region, region_of_detection, region_of_landmarks
from moditalker.faces.types import Face, overlap

LEAST_PRESENCE = 0.5
QUARTER_TURNS = (1, 3, 2)  # tried in this order where no face stands upright


class MediaPipeFaces:
    """Detects faces and their landmarks; about 3 ms to follow a face, 15 ms to look for faces.

    Nothing is damped over time: MediaPipe's video mode flattens the lips' motion by 10 %.
    """

    def __init__(self) -> None:
        self.detectors = BlazeFace(SHORT_RANGE), BlazeFace(FULL_RANGE)
        self.mesh = FaceMesh()

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Every face of an RGB image (H, W, 3) uint8, the largest first; also turned by 90°."""
        for turns in (0, *QUARTER_TURNS):
            found = self.detect(np.rot90(image, turns))
            regions = [region_of_detection(turned_back(d, turns, image.shape)) for d in found]
            faces = [face for region in regions if (face := self.look_twice(image, region))]
            if faces:
                return distinct(faces)
        return []

    def follow(self, image: np.ndarray, last: Face) -> Face | None:
        """The face that was `last` in the frame before, or None where it is lost."""
        return self.look(image, region_of_landmarks(last.landmarks))

    def detect(self, image: np.ndarray) -> list[Detection]:
        """What both detectors find, without what the second finds again."""
        first, second = (detector(np.ascontiguousarray(image)) for detector in self.detectors)
        new = [d for d in second if all(not same(d.box, other.box) for other in first)]
        return first + new

    def look(self, image: np.ndarray, region: Region) -> Face | None:
        """The face in a region, or None."""
        landmarks, presence = self.mesh(image, region)
        return Face.around(landmarks, presence) if presence >= LEAST_PRESENCE else None

    def look_twice(self, image: np.ndarray, region: Region) -> Face | None:
        """The face in a detector's region, which is rough: the landmarks give a better one."""
        face = self.look(image, region)
        return face and self.follow(image, face)


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two boxes surround the same face."""
    return overlap(first, second) > SAME_FACE_OVERLAP


def distinct(faces: list[Face]) -> list[Face]:
    """Faces without doubles, the largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(not same(face.box, other.box) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.size)


def turned_back(found: Detection, turns: int, shape: tuple[int, ...]) -> Detection:
    """A detection in `np.rot90(image, turns)` as one in the image of this shape."""
    points = np.concatenate([found.box.reshape(2, 2), found.points])
    height, width = shape[:2]
    for turn in range(turns % 4, 0, -1):
        # The picture before this turn is as wide as the one after it is high.
        before = width if turn % 2 else height
        points = np.stack([before - 1 - points[:, 1], points[:, 0]], axis=1)
    box = np.concatenate([points[:2].min(axis=0), points[:2].max(axis=0)])
    return Detection(box, points[2:], found.score)
