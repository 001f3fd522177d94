"""The person to animate: a reference video or image, tracked, frontalized and cropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moditalker.aligner import (
    CropWindows,
    crop_windows,
    fit_affine,
    frontalize,
    smooth_affine,
)
from moditalker.errors import MotionFileError, SettingsError
from moditalker.faces import load_landmarks, make_detector, track_face
from moditalker.landmarks import mouth_opening
from moditalker.media import FrameSource

CLOSED_SHARE = 0.1  # the initial landmark is the mean over this part of the frames, the most closed
EXTREME_POSE = 0.9  # frames turned further than this quantile are no identity frames


@dataclass
class Reference:
    """A face in every frame of the reference."""

    landmarks: np.ndarray
    "(T, 68, 3) float32 in image pixels."
    frontal: np.ndarray
    "(T, 68, 3) canonical."
    affine: np.ndarray
    "(T, 2, 4) canonical to image, smoothed over time."
    windows: CropWindows
    "The square crop of each frame."
    times: np.ndarray
    "(T,) seconds."

    def __len__(self) -> int:
        return len(self.times)

    def initial(self) -> np.ndarray:
        """The initial landmark (68, 3): the mean of the frames whose mouths are most closed."""
        order = np.argsort(mouth_opening(self.frontal))
        count = max(1, int(CLOSED_SHARE * len(order)))
        return self.frontal[order[:count]].mean(axis=0).astype(np.float32)

    def identity_frame(self) -> int:
        """The frame that lends texture: frontal, with a mouth opened as on average."""
        opening = mouth_opening(self.frontal)
        turned = np.abs(self.affine[:, :, 2]).sum(axis=1) / np.abs(self.affine[:, 0, 0])
        usable = turned <= np.quantile(turned, EXTREME_POSE)
        distance = np.abs(opening - opening.mean()) + np.where(usable, 0, np.inf)
        return int(np.argmin(distance))


def read_reference(
    source: FrameSource,
    count: int,
    *,
    face: str = "single",
    backend: str = "mediapipe",
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Reference:
    """Track the face through the first `count` frames of a source. Raises FaceError."""
    detector = make_detector(backend, device)
    frames = counted(source.read(range(count)), count, progress)
    track = track_face(frames, detector, select=chosen_face(face))
    return posed(track.landmarks, np.asarray(source.info.times[:count]))


def chosen_face(face: str) -> str | int:
    """`single`, `largest`, `left`, `right`, or a number from the left. Raises SettingsError."""
    if face.isdigit():
        return int(face)
    if face not in ("single", "largest", "left", "right"):
        raise SettingsError(f"--face is '{face}'. Take single, largest, left, right or a number.")
    return face


def counted(
    frames: Iterator[np.ndarray], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[np.ndarray]:
    """The frames, and word of each to `progress`."""
    for done, frame in enumerate(frames, start=1):
        yield frame
        if progress:
            progress(done, total)


def posed(landmarks: np.ndarray, times: np.ndarray) -> Reference:
    """A reference from tracked landmarks (T, 68, 3) in image pixels."""
    frontal = frontalize(landmarks)
    affine = smooth_affine(fit_affine(frontal, landmarks), times)
    return Reference(landmarks, frontal, affine, crop_windows(affine, times), times)


def landmark_reference(path: str | Path, rate: float = 25.0) -> Reference:
    """A reference from a landmark file in image pixels, one frame or many at `rate`."""
    landmarks = load_landmarks(path)
    if landmarks.ndim == 2:
        landmarks = landmarks[None]
    return posed(landmarks, np.arange(len(landmarks)) / rate)


def initial_from(path: str | Path) -> np.ndarray:
    """An initial landmark (68, 3), canonical, from a landmark file in canonical or image space."""
    landmarks = load_landmarks(path)
    single = landmarks if landmarks.ndim == 2 else landmarks[0]
    if np.abs(single).max() < 4:  # eye distances; pixels are larger
        return single.astype(np.float32)
    if not single[:, 2].any():
        raise MotionFileError(f"{path}: an initial landmark needs depth (68, 3).")
    return frontalize(single[None])[0]


def stretched(reference: Reference, indices: np.ndarray, times: np.ndarray) -> Reference:
    """The reference as the output shows it: frames `indices` at `times`."""
    windows = CropWindows(reference.windows.centres[indices], reference.windows.sides[indices])
    return replace(
        reference,
        landmarks=reference.landmarks[indices],
        frontal=reference.frontal[indices],
        affine=reference.affine[indices],
        windows=windows,
        times=times,
    )
