"""The reference: what is tracked, which frames the output shows, where the mouth starts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moditalker.aligner import apply_affine
from moditalker.errors import FaceError, MotionFileError, SettingsError
from moditalker.landmarks import mean_face, mouth_opening
from moditalker.media import FrameSource
from moditalker.progress import Progress
from moditalker.reference import Watching, chosen_face, initial_from, posed, watch, watch_landmarks

PORTRAIT = Path(__file__).parent / "data" / "astronaut.jpg"


def in_pixels(face: np.ndarray, scale: float = 100.0) -> np.ndarray:
    """Canonical landmarks (..., 68, 3) as a frontal face of an image."""
    return (face * [scale, -scale, scale] + [200, 150, 0]).astype(np.float32)


def talking(frames: int) -> np.ndarray:
    """Faces (T, 68, 3) in pixels whose mouths open more and more."""
    faces = np.repeat(mean_face()[None], frames, axis=0)
    lower = [*range(4, 13), *range(55, 60), 65, 66, 67]
    faces[:, lower, 1] -= np.linspace(0, 0.2, frames)[:, None]
    return in_pixels(faces)


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people side by side, the right one a little larger."""
    person = Image.open(PORTRAIT)
    picture = Image.new("RGB", (680, 360))
    picture.paste(person.resize((300, 300)), (0, 30))
    picture.paste(person.resize((360, 360)), (320, 0))
    path = tmp_path_factory.mktemp("two") / "two faces.png"
    picture.save(path)
    return path


def looked_at(path: Path, face: str, stream: io.StringIO) -> float:
    """Where the chosen face is, in x."""
    with FrameSource(path) as source:
        seen = watch(source, 0.5, Watching(face=face), Progress(stream=stream))
    assert len(seen.whole) == 1 and len(seen.shown) in (12, 13)
    return float(seen.whole.landmarks[0, :, 0].mean())


def test_of_two_faces_the_largest_is_taken_unless_another_is_chosen(two_faces: Path) -> None:
    stream = io.StringIO()
    assert looked_at(two_faces, "largest", stream) > 340
    assert "several faces" in stream.getvalue() and stream.getvalue().count("\n") == 1
    assert looked_at(two_faces, "left", io.StringIO()) < 340
    assert looked_at(two_faces, "2", io.StringIO()) > 340
    with pytest.raises(FaceError, match="two faces or more"):
        looked_at(two_faces, "single", io.StringIO())
    with pytest.raises(FaceError, match="no face 3 among 2"):
        looked_at(two_faces, "3", io.StringIO())


def test_an_unknown_choice_of_a_face_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="Take single, largest, left, right or a number"):
        chosen_face("middle")


def test_only_the_frames_that_the_sound_needs_are_looked_at(tmp_path: Path) -> None:
    np.save(tmp_path / "face.npy", talking(40))
    assert len(watch_landmarks(tmp_path / "face.npy", 0.4, "pingpong").whole) == 10


def test_pingpong_shows_the_frames_back_and_forth(tmp_path: Path) -> None:
    np.save(tmp_path / "face.npy", talking(4))
    seen = watch_landmarks(tmp_path / "face.npy", 0.4, "pingpong")
    assert seen.indices == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    np.testing.assert_array_equal(seen.shown.landmarks, seen.whole.landmarks[seen.indices])
    np.testing.assert_allclose(seen.shown.times, np.arange(10) / 25)


def test_the_initial_landmark_has_the_most_closed_mouth() -> None:
    reference = posed(talking(20), np.arange(20) / 25)
    assert mouth_opening(reference.initial()) < mouth_opening(reference.frontal)[2]


def test_the_identity_frame_is_neither_turned_away_nor_extreme() -> None:
    reference = posed(talking(21), np.arange(21) / 25)
    assert 6 <= reference.identity_frame() <= 14


def test_frontal_landmarks_return_to_their_pixels() -> None:
    reference = posed(talking(8), np.arange(8) / 25)
    back = apply_affine(reference.affine, reference.frontal)
    np.testing.assert_allclose(back, reference.landmarks[..., :2], atol=0.5)


def test_an_initial_landmark_may_be_canonical_or_in_pixels_or_flat(tmp_path: Path) -> None:
    face = mean_face()
    np.save(tmp_path / "canonical.npy", face)
    np.save(tmp_path / "pixels.npy", in_pixels(face))
    np.save(tmp_path / "flat.npy", in_pixels(face)[:, :2])
    np.save(tmp_path / "several.npy", talking(5)[::-1])
    for name in ("canonical", "pixels", "flat", "several"):
        initial = initial_from(tmp_path / f"{name}.npy")
        assert initial.shape == (68, 3) and initial.dtype == np.float32
        np.testing.assert_allclose(initial, face, atol=0.02)


def test_a_canonical_initial_landmark_needs_depth(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", mean_face()[:, :2])
    with pytest.raises(MotionFileError, match="need depth"):
        initial_from(tmp_path / "flat.npy")
