"""Smoothing at any rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from moditalker.smoothing import smoothed


@pytest.mark.parametrize("rate", [23.976, 25.0, 59.94])
def test_lines_and_parabolas_stay_up_to_the_ends(rate: float) -> None:
    times = np.arange(50) / rate
    line, parabola = 3 * times - 1, times**2
    assert np.allclose(smoothed(line, times, 0.1), line, atol=1e-5)
    assert np.allclose(smoothed(parabola, rate, 0.1, degree=2), parabola, atol=1e-4)


def test_even_times_equal_a_gaussian_filter() -> None:
    values = np.random.default_rng(0).normal(size=(200, 2, 4))
    expected = gaussian_filter1d(values, 2.5, axis=0, truncate=4.0)
    assert np.allclose(smoothed(values, 25.0, 0.1)[20:-20], expected[20:-20], atol=1e-3)


def test_uneven_times_count_as_they_are() -> None:
    times = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.08, 400))
    wave = np.sin(2 * np.pi * times)
    assert np.abs(smoothed(wave, times, 0.06, degree=2) - wave).max() < 0.01


def test_noise_shrinks_and_zero_seconds_change_nothing() -> None:
    noise = np.random.default_rng(2).normal(size=500)
    assert smoothed(noise, 25.0, 0.2).std() < 0.4
    assert np.array_equal(smoothed(noise, 25.0, 0.0), noise)


def test_shots_do_not_mix() -> None:
    step = np.repeat([0.0, 1.0], 20)
    assert np.allclose(smoothed(step, 25.0, 0.2, shots=step.astype(int)), step, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_frames(frames: int) -> None:
    values = np.arange(frames * 2.0).reshape(frames, 2)
    assert np.allclose(smoothed(values, 25.0, 0.1, degree=2), values, atol=1e-3)


def test_long_videos_are_smoothed_in_blocks_without_seams() -> None:
    times = np.arange(9000) / 25
    wave = np.sin(times)
    assert np.abs(smoothed(wave, times, 0.06, degree=2) - wave).max() < 1e-4
