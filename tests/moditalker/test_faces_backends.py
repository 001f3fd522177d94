"""Choice of the detector, and face-alignment behind the same interface."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moditalker.errors import MissingExtraError, SettingsError, WeightsError
from moditalker.faces import MediaPipeFaces, make_detector, track_face
from moditalker.faces.face_alignment import FaceAlignmentFaces
from moditalker.landmarks import mean_face


class StandIn:
    """A `face_alignment.FaceAlignment` without its networks: faces stand in the given boxes."""

    def __init__(self, boxes: list[list[float]], score: float = 0.8) -> None:
        self.boxes, self.score = boxes, score
        self.face_detector = SimpleNamespace(detect_from_image=self.detect)

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        assert image.dtype == np.uint8 and image.flags.c_contiguous
        return [np.array([*box, 0.99]) for box in self.boxes]

    def get_landmarks_from_image(
        self, image: np.ndarray, detected_faces: list[np.ndarray], return_landmark_score: bool
    ) -> tuple[list[np.ndarray], list[np.ndarray], None]:
        landmarks = []
        for x0, y0, x1, y1, _ in detected_faces:
            middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2, 0])
            face = mean_face() - [0, mean_face()[:, 1].mean(), 0]
            landmarks.append(face * [1, -1, 1] * (y1 - y0) / 1.6 + middle)
        return landmarks, [np.full(68, self.score)] * len(landmarks), None


IMAGE = np.zeros((200, 300, 3), np.uint8)


def test_faces_come_with_landmarks_largest_first() -> None:
    faces = FaceAlignmentFaces(network=StandIn([[10, 10, 60, 70], [100, 20, 200, 140]]))(IMAGE)
    assert [round(face.centre[0]) for face in faces] == [150, 35]
    assert faces[0].landmarks.shape == (68, 3)
    assert faces[0].landmarks[30, 2] > faces[0].landmarks[0, 2], "z towards the viewer"


def test_a_video_is_tracked() -> None:
    detector = FaceAlignmentFaces(network=StandIn([[100, 20, 200, 140]]))
    assert track_face([IMAGE] * 30, detector).found.all()


def test_faces_it_is_unsure_of_are_left_out() -> None:
    detector = FaceAlignmentFaces(network=StandIn([[100, 20, 200, 140]], score=0.05))
    assert detector(IMAGE) == []
    assert FaceAlignmentFaces(network=StandIn([]))(IMAGE) == []


def test_without_the_extra_it_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'moditalker\[faces\]'"):
        make_detector("face-alignment")


def test_without_a_network_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    package = SimpleNamespace(FaceAlignment=unreachable, LandmarksType=SimpleNamespace(THREE_D=3))
    monkeypatch.setitem(sys.modules, "face_alignment", package)
    with pytest.raises(WeightsError, match=r"no route to host.*mediapipe"):
        make_detector("face-alignment")


def test_the_default_is_mediapipe_and_other_names_are_errors() -> None:
    assert isinstance(make_detector(), MediaPipeFaces)
    with pytest.raises(SettingsError, match=r"'dlib'.*mediapipe, face-alignment"):
        make_detector("dlib")
