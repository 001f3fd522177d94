"""One face through a whole video."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from moditalker.errors import FaceError, SettingsError
from moditalker.faces.types import Face, FaceDetector

CHECK_EVERY = 25  # frames between two looks at the whole picture
RIVAL_SIZE = 0.5  # a second face counts from this part of the main face's size
RIVAL_SHARE = 0.3  # and from this part of the looks; less may be a passer-by or a picture
SELECTIONS = ("single", "largest", "left", "right")


@dataclass(frozen=True)
class Track:
    """A face in every frame."""

    landmarks: np.ndarray
    "(T, 68, 3) float32 in image pixels."
    found: np.ndarray
    "(T,) bool: False where the landmarks were interpolated."
    boxes: np.ndarray
    "(T, 4) float32 x0, y0, x1, y1 around the landmarks."

    def __len__(self) -> int:
        return len(self.found)


class Tracker:
    """Follows one face from frame to frame; looks at the whole picture at times and when lost."""

    def __init__(self, detector: FaceDetector, select: str | int = "single") -> None:
        if select not in SELECTIONS and not isinstance(select, int):
            raise SettingsError(
                f"unknown face '{select}'. Take {', '.join(SELECTIONS)}, or a number from the left."
            )
        self.detector, self.select = detector, select
        self.last: Face | None = None
        self.since = CHECK_EVERY
        self.looks = self.rivals = 0

    def __call__(self, image: np.ndarray) -> Face | None:
        """The face in the next frame (H, W, 3), or None."""
        face = self.detector.follow(image, self.last) if self.last else None
        self.since += 1
        if face is None or self.since >= CHECK_EVERY:
            face = self.check(image, face)
        self.last = face
        return face

    def check(self, image: np.ndarray, followed: Face | None) -> Face | None:
        """Keep the followed face if the detector sees one there, else choose among what it sees.

        So a shot cut is noticed even if the mesh fits something in the old place.
        """
        faces = self.detector(image)
        self.since = 0
        if faces:
            self.looks += 1
            self.rivals += len(near_in_size(faces)) > 1
        if followed and (not faces or any(covers(face, followed) for face in faces)):
            return followed
        return choose(faces, self.select) if faces else None

    def refuse_rivals(self) -> None:
        """Raise FaceError where one face was to be had and two were seen."""
        if self.select == "single" and self.rivals > RIVAL_SHARE * self.looks:
            raise FaceError(
                f"two faces or more of similar size in {self.rivals} of {self.looks} looks. "
                "Choose one: --face largest, left, right, or a number from the left."
            )


def track_face(
    frames: Iterable[np.ndarray],
    detector: FaceDetector,
    *,
    select: str | int = "single",
    most_missing: float = 0.2,
    progress: Callable[[int], None] | None = None,
) -> Track:
    """Follow one face through `frames` (H, W, 3) uint8.

    `select` says which, where there are several: `single` (several are an error), `largest`,
    `left`, `right`, or a number counted from the left, from 1. Gaps are interpolated. `progress`
    gets the number of frames done. Raises FaceError when the face is missing in more than the part
    `most_missing` of the frames, or is one of several.
    """
    tracker = Tracker(detector, select)
    faces = []
    for done, image in enumerate(frames, start=1):
        faces.append(tracker(image))
        if progress:
            progress(done)
    tracker.refuse_rivals()
    return filled(faces, most_missing)


def covers(face: Face, followed: Face) -> bool:
    """Whether two sightings in one frame are the same face."""
    return float(np.abs(face.centre - followed.centre).max()) < 0.4 * followed.size


def near_in_size(faces: list[Face]) -> list[Face]:
    """The faces that are not much smaller than the largest, from the left."""
    largest = max(face.size for face in faces)
    rivals = [face for face in faces if face.size > RIVAL_SIZE * largest]
    return sorted(rivals, key=lambda face: float(face.centre[0]))


def choose(faces: list[Face], select: str | int) -> Face:
    """The wanted one of the faces in a picture. Raises FaceError where there are too few."""
    rivals = near_in_size(faces)
    if select in ("single", "largest"):
        return max(rivals, key=lambda face: face.size)
    number = {"left": 1, "right": len(rivals)}.get(str(select), select)
    if not 1 <= int(number) <= len(rivals):
        raise FaceError(
            f"no face {number} among {len(rivals)}. Take a number from 1 to {len(rivals)}, "
            "counted from the left."
        )
    return rivals[int(number) - 1]


def filled(faces: list[Face | None], most_missing: float) -> Track:
    """A track with its gaps interpolated; its ends are held. Raises FaceError for too many gaps."""
    found = np.array([face is not None for face in faces], dtype=bool)
    missing = int((~found).sum())
    if not found.any() or missing > most_missing * len(faces):
        first = int(np.argmin(found)) if missing else 0
        raise FaceError(
            f"no face in {missing} of {len(faces)} frames (first: {first}). Take a closer or more "
            "frontal shot, or give landmarks."
        )
    present = [face for face in faces if face is not None]
    landmarks = interpolated(np.stack([face.landmarks for face in present]), found)
    boxes = interpolated(np.stack([face.box for face in present]), found)
    return Track(landmarks, found, boxes)


def interpolated(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Values (F, ...) of the found frames to all frames (T, ...), linearly, float32."""
    flat = values.reshape(len(values), -1)
    frames, known = np.arange(len(found)), np.flatnonzero(found)
    columns = [np.interp(frames, known, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(found), *values.shape[1:]).astype(np.float32)
