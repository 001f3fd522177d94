"""The default detector on a public-domain portrait."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moditalker.aligner import fit_affine, frontalize, pose_from_affine
from moditalker.faces import Face, MediaPipeFaces, track_face
from moditalker.faces.blaze import FULL_RANGE, SHORT_RANGE, anchor_centres
from moditalker.landmarks import eye_distance, mean_face

# Seen in the picture, in pixels: outer eye corners, mouth corners.
SEEN = {36: (134, 101), 45: (196, 103), 48: (139, 139), 54: (186, 141)}


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    path = Path(__file__).parent / "data" / "astronaut.jpg"
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def detector() -> MediaPipeFaces:
    return MediaPipeFaces()


@pytest.fixture(scope="module")
def face(portrait: np.ndarray, detector: MediaPipeFaces) -> Face:
    (face,) = detector(portrait)
    return face


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square distance of landmarks in eye distances of the second."""
    gap = np.linalg.norm(first[:, :2] - second[:, :2], axis=1)
    return float(np.sqrt((gap**2).mean()) / eye_distance(second[:, :2]))


def test_landmarks_lie_where_a_person_sees_them(face: Face) -> None:
    assert face.landmarks.shape == (68, 3) and face.landmarks.dtype == np.float32
    assert face.score > 0.9
    for point, place in SEEN.items():
        assert face.landmarks[point, :2] == pytest.approx(place, abs=3)
    assert (face.box[:2] <= face.landmarks[:, :2].min(axis=0)).all()


def test_depth_grows_towards_the_viewer_in_pixels(face: Face) -> None:
    depth = face.landmarks[:, 2]
    assert depth.argmax() in (29, 30, 33), "the nose is nearest"
    reach = (depth[30] - depth[[0, 16]].mean()) / eye_distance(face.landmarks)
    assert 0.6 < reach < 1.6


def test_the_portrait_looks_ahead(face: Face) -> None:
    landmarks = face.landmarks[None]
    pose = pose_from_affine(fit_affine(frontalize(landmarks), landmarks))
    assert np.rad2deg(np.arccos(pose.rotation[0, 2, 2])) < 15
    assert distance(frontalize(landmarks)[0], mean_face()) < 0.1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_on_its_side_or_head(
    portrait: np.ndarray, face: Face, detector: MediaPipeFaces, turns: int
) -> None:
    (turned,) = detector(np.rot90(portrait, turns))
    expected = face.landmarks[:, :2].copy()
    for _ in range(turns):
        expected = np.stack([expected[:, 1], len(portrait) - 1 - expected[:, 0]], axis=1)
    assert distance(turned.landmarks, expected) < 0.03


@pytest.mark.parametrize("degrees", [-40, 25, 60])
def test_a_tilted_head(
    portrait: np.ndarray, face: Face, detector: MediaPipeFaces, degrees: float
) -> None:
    tilted = np.asarray(Image.fromarray(portrait).rotate(degrees, Image.Resampling.BICUBIC))
    (found,) = detector(tilted)
    angle, middle = np.deg2rad(degrees), (np.array(portrait.shape[1::-1]) - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    expected = (face.landmarks[:, :2] - middle) @ np.array([[cos, -sin], [sin, cos]]) + middle
    assert distance(found.landmarks, expected) < 0.05


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_small_and_large_pictures_give_the_same_points(
    portrait: np.ndarray, face: Face, detector: MediaPipeFaces, scale: float
) -> None:
    size = [round(side * scale) for side in portrait.shape[1::-1]]
    picture = Image.fromarray(portrait).resize((size[0], size[1]), Image.Resampling.BICUBIC)
    (found,) = detector(np.asarray(picture))
    assert distance((found.landmarks + 0.5) / scale - 0.5, face.landmarks) < 0.04


def test_two_faces_the_larger_first(portrait: np.ndarray, detector: MediaPipeFaces) -> None:
    small = np.asarray(Image.fromarray(portrait).resize((240, 240)))
    both = np.full((320, 600, 3), 128, np.uint8)
    both[:240, :240], both[:, 280:] = small, portrait
    first, second = detector(both)
    assert first.centre[0] > 280 > second.centre[0] and first.size > second.size


@pytest.mark.parametrize("shape", [(240, 320, 3), (1, 1, 3), (2000, 40, 3)])
def test_nobody_in_the_picture(detector: MediaPipeFaces, shape: tuple[int, ...]) -> None:
    assert detector(np.full(shape, 90, np.uint8)) == []


def test_a_moving_face_is_followed(portrait: np.ndarray, detector: MediaPipeFaces) -> None:
    shifts = (25 * np.sin(np.linspace(0, 6, 30))).round().astype(int)
    frames = [np.roll(portrait, shift, axis=1) for shift in shifts]
    track = track_face(frames, detector)
    assert track.found.all() and len(track) == 30
    path = track.landmarks[:, 27:48, 0].mean(axis=1) - shifts
    assert np.abs(path - path.mean()).max() < 0.02 * eye_distance(track.landmarks[0])


def test_following_nothing_finds_nothing(face: Face, detector: MediaPipeFaces) -> None:
    assert detector.follow(np.full((320, 320, 3), 90, np.uint8), face) is None
    far = Face.around(face.landmarks + np.array([5000, 0, 0]), 1.0)
    assert detector.follow(np.full((320, 320, 3), 90, np.uint8), far) is None


def test_the_runtime_keeps_stderr_clean(
    portrait: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    assert MediaPipeFaces()(portrait)
    assert capfd.readouterr().err == ""


def test_anchors_match_the_networks_outputs() -> None:
    assert anchor_centres(SHORT_RANGE).shape == (896, 2)
    assert anchor_centres(FULL_RANGE).shape == (2304, 2)
    assert anchor_centres(FULL_RANGE)[0] == pytest.approx([1 / 96, 1 / 96])
