"""Following one face: gaps, choices, shot cuts and what is said when it fails."""

from __future__ import annotations

import numpy as np
import pytest

from moditalker.errors import FaceError, SettingsError
from moditalker.faces import Face, track_face
from moditalker.landmarks import mean_face


def face_at(x: float, size: float = 40.0) -> Face:
    """An upright face around x, 100."""
    landmarks = mean_face() * np.array([1, -1, 1]) * size + np.array([x, 100, 0])
    return Face.around(landmarks, 0.9)


class Script:
    """A detector that sees what a script says: frame by frame, faces by x and size.

    Frames are 1 x 1 pictures that hold their number. `follow` keeps to a face that moves little.
    """

    def __init__(self, frames: list[list[tuple[float, float]]]) -> None:
        self.frames = frames
        self.looks = 0

    def faces(self, image: np.ndarray) -> list[Face]:
        return [face_at(*place) for place in self.frames[int(image[0, 0, 0])]]

    def __call__(self, image: np.ndarray) -> list[Face]:
        self.looks += 1
        return sorted(self.faces(image), key=lambda face: -face.size)

    def follow(self, image: np.ndarray, last: Face) -> Face | None:
        near = [face for face in self.faces(image) if abs(face.centre - last.centre).max() < 20]
        return near[0] if near else None

    def pictures(self) -> list[np.ndarray]:
        return [np.full((1, 1, 3), number, np.uint8) for number in range(len(self.frames))]


def middles(script: Script, select: str | int = "single") -> np.ndarray:
    """Where the tracked face is, frame by frame."""
    return track_face(script.pictures(), script, select=select).landmarks[:, 27, 0]


def test_gaps_are_bridged_and_marked() -> None:
    frames = [[(float(x), 40.0)] for x in range(100, 120)]
    frames[5] = frames[6] = frames[0] = []
    script = Script(frames)
    track = track_face(script.pictures(), script)
    assert track.found.sum() == 17 and not track.found[[0, 5, 6]].any()
    assert track.landmarks[5:7, 27, 0] == pytest.approx([105, 106], abs=0.01)
    assert np.array_equal(track.landmarks[0], track.landmarks[1]), "ends are held"
    assert track.landmarks.dtype == track.boxes.dtype == np.float32


def test_too_many_gaps_name_the_frames() -> None:
    script = Script([[(100.0, 40.0)]] * 7 + [[]] * 3)
    with pytest.raises(FaceError, match=r"no face in 3 of 10 frames \(first: 7\)"):
        track_face(script.pictures(), script)
    assert len(track_face(script.pictures(), script, most_missing=0.4)) == 10


@pytest.mark.parametrize("frames", [0, 4])
def test_no_face_at_all(frames: int) -> None:
    script = Script([[]] * frames)
    with pytest.raises(FaceError, match=f"no face in {frames} of {frames} frames"):
        track_face(script.pictures(), script, most_missing=1.0)


def test_two_similar_faces_need_a_choice() -> None:
    script = Script([[(100.0, 40.0), (300.0, 50.0)]] * 5)
    with pytest.raises(FaceError, match="--face largest, left, right"):
        middles(script)
    assert middles(script, "largest") == pytest.approx(300, abs=0.1)
    assert middles(script, "left") == pytest.approx(100, abs=0.1)
    assert middles(script, "right") == pytest.approx(300, abs=0.1)
    assert middles(script, 1) == pytest.approx(100, abs=0.1)


def test_a_choice_out_of_range_says_so() -> None:
    script = Script([[(100.0, 40.0), (300.0, 50.0)]] * 5)
    with pytest.raises(FaceError, match="no face 3 among 2"):
        middles(script, 3)
    with pytest.raises(SettingsError, match="unknown face 'nearest'"):
        middles(script, "nearest")


def test_a_small_face_behind_does_not_count() -> None:
    assert middles(Script([[(100.0, 60.0), (300.0, 20.0)]] * 5)) == pytest.approx(100, abs=0.1)


def test_a_passer_by_does_not_stop_the_work() -> None:
    frames = [[(100.0, 50.0)] for _ in range(250)]
    frames[0] = [(100.0, 50.0), (400.0, 50.0)]
    assert middles(Script(frames)) == pytest.approx(100, abs=0.1)


def test_the_chosen_face_is_kept_when_faces_cross_sizes() -> None:
    frames = [[(100.0, 50.0 - 0.2 * t), (300.0, 40.0 + 0.2 * t)] for t in range(80)]
    assert middles(Script(frames), "largest") == pytest.approx(100, abs=0.1)


def test_after_a_cut_the_face_is_found_again() -> None:
    frames = [[(100.0, 40.0)]] * 10 + [[(700.0, 90.0)]] * 10
    assert middles(Script(frames)) == pytest.approx([100] * 10 + [700] * 10, abs=0.1)


def test_a_false_fit_is_noticed_within_a_second() -> None:
    script = Script([[(100.0, 40.0)]] * 10 + [[(700.0, 90.0)]] * 90)
    script.follow = lambda image, last: last  # type: ignore[method-assign]
    assert middles(script)[35:] == pytest.approx(700, abs=0.1)


def test_the_detector_looks_about_once_a_second() -> None:
    script = Script([[(100.0, 40.0)]] * 250)
    done: list[int] = []
    track_face(iter(script.pictures()), script, progress=done.append)
    assert 8 <= script.looks <= 12
    assert done == list(range(1, 251))
