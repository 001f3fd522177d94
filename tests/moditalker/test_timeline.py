"""How a reference is stretched over the sound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from moditalker.errors import ReferenceVideoError, SettingsError
from moditalker.timeline import Mode, extend

TIMES = np.arange(5) / 25


def test_ping_pong_shows_the_ends_once() -> None:
    timeline = extend(TIMES, 0.04, 0.6, "pingpong")
    assert timeline.indices.tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2]
    np.testing.assert_allclose(timeline.times, np.arange(15) / 25)


def test_loop_freeze_and_cut() -> None:
    assert extend(TIMES, 0.04, 0.32, "loop").indices.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert extend(TIMES, 0.04, 0.32, "freeze").indices.tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    for mode in ("pingpong", "loop", "freeze", "error"):
        assert extend(TIMES, 0.04, 0.12, mode).indices.tolist() == [0, 1, 2]


def test_error_mode_names_both_lengths() -> None:
    assert len(extend(TIMES, 0.04, 0.21, "error")) == 5
    with pytest.raises(ReferenceVideoError, match=r"0\.20 s.*0\.50 s"):
        extend(TIMES, 0.04, 0.5, "error")


@pytest.mark.parametrize("mode", ["pingpong", "loop", "freeze"])
@pytest.mark.parametrize("rate", [24000 / 1001, 25, 60000 / 1001])
@pytest.mark.parametrize("seconds", [0.01, 0.2, 1.777, 61.3])
def test_as_long_as_the_sound_to_half_a_frame(mode: Mode, rate: float, seconds: float) -> None:
    timeline = extend(np.arange(7) / rate, 1 / rate, seconds, mode)
    assert timeline.times[0] == 0
    assert np.diff(timeline.times) == pytest.approx(1 / rate)
    error = abs(timeline.seconds - seconds)
    assert error <= 0.51 / rate or len(timeline) == 1


def test_variable_rate_is_mirrored_on_the_way_back() -> None:
    """The way from i to i + 1 takes as long as the way from i + 1 to i."""
    times = np.array([0, 0.1, 0.15, 0.4])
    timeline = extend(times, 0.3, 2.0, "pingpong")
    for (a, b), step in zip(pairwise(timeline.indices), np.diff(timeline.times), strict=True):
        assert step == pytest.approx(abs(times[a] - times[b]))


def test_variable_rate_repeats_in_a_loop() -> None:
    timeline = extend(np.array([0, 0.1, 0.15, 0.4]), 0.3, 1.5, "loop")
    np.testing.assert_allclose(timeline.times, [0, 0.1, 0.15, 0.4, 0.7, 0.8, 0.85, 1.1, 1.4])


@pytest.mark.parametrize("mode", ["pingpong", "loop", "freeze"])
def test_a_long_last_frame_ends_with_the_sound(mode: Mode) -> None:
    """A screen recording may hold a frame for seconds: the sound's end cuts it."""
    times = np.array([0, 0.04, 0.08, 5.0])
    timeline = extend(times, 0.04, 2.0, mode)
    assert timeline.indices.tolist() == [0, 1, 2]
    assert timeline.seconds == pytest.approx(2.0)


def test_a_still_lasts_as_long_as_the_sound() -> None:
    for mode in ("pingpong", "loop", "freeze"):
        timeline = extend(np.zeros(1), 0.04, 1.0, mode)
        assert timeline.indices.tolist() == [0] * 25
        np.testing.assert_allclose(timeline.times, np.arange(25) / 25)


def test_two_frames_swing() -> None:
    assert extend(np.array([0, 0.04]), 0.04, 0.2).indices.tolist() == [0, 1, 0, 1, 0]


def test_an_hour_is_laid_out_at_once() -> None:
    timeline = extend(np.arange(250) / 25, 0.04, 3600.0)
    assert len(timeline) == 90000


def test_unknown_mode_and_length() -> None:
    with pytest.raises(SettingsError, match="pingpong, loop, freeze, error"):
        extend(TIMES, 0.04, 1.0, "bounce")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="positive"):
        extend(TIMES, 0.04, 0.0)
