import numpy as np
import pytest

from atom.metrics import amplitude_ratio, mouth_distance, opening_correlation, scores
from moditalker.landmarks import MOUTH, mean_face


def talking(frames: int = 60, late: int = 0, much: float = 1.0) -> np.ndarray:
    """A mouth (T, 68, 3) that opens and closes without a period."""
    times = np.arange(frames) - late
    motion = np.repeat(mean_face()[None], frames, axis=0)
    motion[:, 65:68, 1] -= (
        much * (0.1 + 0.05 * (np.sin(times * 0.9) + np.sin(times * 0.37)))[:, None]
    )
    return motion


@pytest.mark.parametrize("late", [-2, 0, 2])
def test_correlation_forgives_two_frames(late: int) -> None:
    assert opening_correlation(talking(late=late), talking()) == pytest.approx(1, abs=1e-3)


def test_correlation_does_not_forgive_more() -> None:
    assert opening_correlation(talking(late=5), talking()) < 0.8


def test_a_mouth_that_does_not_move_has_no_correlation() -> None:
    still = np.repeat(talking(1), 60, axis=0)
    assert opening_correlation(still, talking()) == 0


def test_amplitude_is_a_ratio() -> None:
    assert amplitude_ratio(talking(much=1.5), talking()) == pytest.approx(1.5, abs=0.01)


def test_distance_is_in_percent_of_the_eye_distance() -> None:
    moved = talking()
    moved[:, MOUTH, 0] += 0.03
    assert mouth_distance(moved, talking()) == pytest.approx(3, abs=1e-4)


def test_holding_the_first_frame_is_told_beside() -> None:
    truth = talking()
    found = scores(truth, truth, truth[0])
    assert found["mouth_lmd"] == 0 and found["hold_lmd"] > 0
    assert found["opening_r"] == pytest.approx(1)
