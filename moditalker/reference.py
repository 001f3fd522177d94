"""The person to animate: a reference video or image, tracked, frontalized and cropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moditalker.aligner import (
    CropWindows,
    crop_windows,
    fit_affine,
    frontalize,
    shots_of,
    smooth_affine,
    with_depth,
)
from moditalker.errors import MotionFileError, SettingsError
from moditalker.faces import Face, FaceDetector, load_landmarks, make_detector, track_face
from moditalker.faces.tracking import RIVAL_SHARE, near_in_size
from moditalker.landmarks import mouth_opening
from moditalker.media import FrameSource
from moditalker.progress import Progress
from moditalker.timeline import Mode, extend

RATE = 25.0  # frames per second of a still and of a landmark file
CLOSED_SHARE = 0.1  # the initial landmark is the mean over this part of the frames, the most closed
EXTREME_POSE = 0.9  # frames turned further than this quantile are no identity frames
CANONICAL_REACH = 4.0  # canonical landmarks stay below it, in eye distances; pixels do not
CHOICES = ("single", "largest", "left", "right")


@dataclass(frozen=True)
class Watching:
    """How the reference is looked at."""

    extend: Mode = "pingpong"
    "Where it is shorter than the sound."
    face: str = "largest"
    "Which face, if there are several."
    backend: str = "mediapipe"
    "The face detector."
    device: str = "cpu"
    "Where it runs, if it can choose."


@dataclass(frozen=True)
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
        """The frame that lends its texture: not turned away, its mouth opened as on average."""
        opening = mouth_opening(self.frontal)
        turned = np.abs(self.affine[:, :, 2]).sum(axis=1) / np.abs(self.affine[:, 0, 0])
        usable = turned <= np.quantile(turned, EXTREME_POSE)
        distance = np.abs(opening - opening.mean()) + np.where(usable, 0, np.inf)
        return int(np.argmin(distance))

    def shots(self) -> np.ndarray:
        """(T,) numbers that grow at cuts."""
        return shots_of(self.affine)


@dataclass(frozen=True)
class Seen:
    """The reference, and what of it the output shows."""

    whole: Reference
    "The frames of the reference that are needed, T of them."
    shown: Reference
    "The same in the order and at the times of the output, F frames."
    indices: list[int]
    "(F,) the reference's frame that each output frame shows."


def watch(source: FrameSource, seconds: float, how: Watching, progress: Progress) -> Seen:
    """Track the face through as many frames of the source as a sound of `seconds` needs.

    Raises FaceError, SettingsError, ReferenceVideoError.
    """
    info, select = source.info, chosen_face(how.face)
    mode: Mode = "freeze" if info.is_image else how.extend
    timeline = extend(info.times, info.last_duration, seconds, mode)
    count = int(timeline.indices.max()) + 1
    detector = Attentive(make_detector(how.backend, how.device))
    frames = counted(source.read(range(count)), count, progress)
    track = track_face(frames, detector, select=select)
    if select == "largest" and detector.several > RIVAL_SHARE * detector.looks:
        progress.note(
            "several faces: the largest is taken. --face left, right or a number chooses."
        )
    return seen(posed(track.landmarks, info.times[:count]), timeline.indices, timeline.times)


def watch_landmarks(path: str | Path, seconds: float, mode: Mode) -> Seen:
    """The same from a landmark file in image pixels: one frame, or many at 25 a second."""
    landmarks = with_depth(frames_of(path))
    times = np.arange(len(landmarks)) / RATE
    timeline = extend(times, 1 / RATE, seconds, "freeze" if len(times) == 1 else mode)
    count = int(timeline.indices.max()) + 1
    return seen(posed(landmarks[:count], times[:count]), timeline.indices, timeline.times)


def seen(whole: Reference, indices: np.ndarray, times: np.ndarray) -> Seen:
    """The frames `indices` of a reference at `times`."""
    windows = CropWindows(whole.windows.centres[indices], whole.windows.sides[indices])
    shown = replace(
        whole, landmarks=whole.landmarks[indices], frontal=whole.frontal[indices],
        affine=whole.affine[indices], windows=windows, times=times,
    )  # fmt: skip
    return Seen(whole, shown, indices.tolist())


class Attentive:
    """A detector that counts the pictures in which it sees several faces of similar size."""

    def __init__(self, detector: FaceDetector) -> None:
        self.detector, self.looks, self.several = detector, 0, 0

    def __call__(self, image: np.ndarray) -> list[Face]:
        faces = self.detector(image)
        self.looks += 1
        self.several += bool(faces) and len(near_in_size(faces)) > 1
        return faces

    def follow(self, image: np.ndarray, last: Face) -> Face | None:
        """As the detector does."""
        return self.detector.follow(image, last)


def chosen_face(face: str) -> str | int:
    """`single`, `largest`, `left`, `right`, or a number from the left. Raises SettingsError."""
    if face.isdigit():
        return int(face)
    if face not in CHOICES:
        raise SettingsError(f"--face is '{face}'. Take {', '.join(CHOICES)} or a number.")
    return face


def counted(frames: Iterator[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
    """The frames, and word of each to `progress`."""
    for done, frame in enumerate(frames, start=1):
        yield frame
        progress.update(done, total)


def posed(landmarks: np.ndarray, times: np.ndarray) -> Reference:
    """A reference from tracked landmarks (T, 68, 3) in image pixels."""
    frontal = frontalize(landmarks)
    affine = smooth_affine(fit_affine(frontal, landmarks), times)
    return Reference(landmarks, frontal, affine, crop_windows(affine, times), times)


def frames_of(path: str | Path) -> np.ndarray:
    """Landmarks (T, 68, 3) of a file that may hold a single frame (68, 3)."""
    landmarks = load_landmarks(path)
    return landmarks[None] if landmarks.ndim == 2 else landmarks


def initial_from(path: str | Path) -> np.ndarray:
    """An initial landmark (68, 3), canonical, from a landmark file in canonical or image space.

    Of a file with several frames the one with the most closed mouth. Raises MotionFileError.
    """
    landmarks = frames_of(path)
    if np.abs(landmarks).max() > CANONICAL_REACH:
        landmarks = frontalize(with_depth(landmarks))
    elif not landmarks[..., 2].any():
        raise MotionFileError(f"{path}: canonical landmarks need depth (68, 3).")
    return landmarks[np.argmin(mouth_opening(landmarks))].astype(np.float32)
