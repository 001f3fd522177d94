"""Faces: detection, 68 x 3 landmarks, following one face through a video, landmark files."""

from __future__ import annotations

from moditalker.errors import SettingsError
from moditalker.faces.files import load_landmarks
from moditalker.faces.mediapipe import MediaPipeFaces
from moditalker.faces.tracking import Track, track_face
from moditalker.faces.types import Face, FaceDetector

BACKENDS = ("mediapipe", "face-alignment")

__all__ = [
    "BACKENDS",
    "Face",
    "FaceDetector",
    "MediaPipeFaces",
    "Track",
    "load_landmarks",
    "make_detector",
    "track_face",
]


def make_detector(name: str = "mediapipe", device: str = "cpu") -> FaceDetector:
    """A detector by name: `mediapipe` (in the package) or `face-alignment` (extra `faces`).

    `device` is for face-alignment alone. Raises SettingsError for another name and
    MissingExtraError where the extra is not installed.
    """
    if name == "mediapipe":
        return MediaPipeFaces()
    if name == "face-alignment":
        from moditalker.faces.face_alignment import FaceAlignmentFaces

        return FaceAlignmentFaces(device)
    raise SettingsError(f"unknown face detector '{name}'. Take one of {', '.join(BACKENDS)}.")
