"""The default detector: MediaPipe's BlazeFace and face mesh, offline, run by LiteRT."""

from __future__ import annotations

import numpy as np
from PIL import Image

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
QUARTER_TURNS = (0, 1, 3, 2)
SURE = 0.9  # a detector's score from which the picture is not tried in other turns
UPRIGHT_BONUS = 0.03
DETECTED_SIZE = 384  # pixels; the detectors see 192
MOST_LOOKS = 4
SETTLED = 0.1  # radians


class MediaPipeFaces:
    """Detects faces and their landmarks; about 3 ms to follow a face, 15 ms to look for faces.

    Nothing is damped over time: MediaPipe's video mode flattens the lips' motion by 10 %.
    """

    def __init__(self) -> None:
        self.detectors = BlazeFace(SHORT_RANGE), BlazeFace(FULL_RANGE)
        self.mesh = FaceMesh()

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Every face of an RGB image (H, W, 3) uint8, the largest first; turned ones too."""
        small, factor = shrunk(image)
        found = [enlarged(detection, factor) for detection in self.detect_turned(small)]
        regions = [region_of_detection(detection) for detection in found]
        return distinct([face for region in regions if (face := self.settle(image, region))])

    def follow(self, image: np.ndarray, last: Face) -> Face | None:
        """The face that was `last` in the frame before, or None where it is lost."""
        return self.look(image, region_of_landmarks(last.landmarks))

    def detect_turned(self, image: np.ndarray) -> list[Detection]:
        """Detections in the image as it stands, or turned by quarters if that fits better.

        The detectors are sure of upright faces alone; upside down, they see a poor upright one.
        """
        best: list[Detection] = []
        most = 0.0
        for turns in QUARTER_TURNS:
            found = self.detect(np.rot90(image, turns))
            score = max((d.score for d in found), default=0.0) - (UPRIGHT_BONUS if turns else 0.0)
            if score > most:
                best, most = [turned_back(d, turns, image.shape) for d in found], score
            if turns == 0 and score > SURE:
                break
        return best

    def detect(self, image: np.ndarray) -> list[Detection]:
        """What both detectors find, without what the second finds again."""
        first, second = (detector(np.ascontiguousarray(image)) for detector in self.detectors)
        new = [d for d in second if all(not same(d.box, other.box) for other in first)]
        return first + new

    def look(self, image: np.ndarray, region: Region) -> Face | None:
        """The face in a region, or None."""
        landmarks, presence = self.mesh(image, region)
        return Face.around(landmarks, presence) if presence >= LEAST_PRESENCE else None

    def settle(self, image: np.ndarray, region: Region) -> Face | None:
        """The face in a detector's region, which is rough: its landmarks give a better one."""
        face = self.look(image, region)
        for _ in range(MOST_LOOKS - 1):
            if face is None:
                return None
            before, region = region, region_of_landmarks(face.landmarks)
            face = self.look(image, region)
            if abs(np.sin(region.angle - before.angle)) < SETTLED:
                break
        return face


def shrunk(image: np.ndarray) -> tuple[np.ndarray, int]:
    """The image, smaller by a whole factor if it has more pixels than the detectors can use."""
    factor = max(1, max(image.shape[:2]) // DETECTED_SIZE)
    if factor == 1:
        return image, 1
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).reduce(factor)), factor


def enlarged(found: Detection, factor: int) -> Detection:
    """A detection in an image that was shrunk by a factor, as one in the image itself."""
    box, points = ((place + 0.5) * factor - 0.5 for place in (found.box, found.points))
    return Detection(box, points, found.score)


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
