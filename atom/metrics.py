"""Figures that tell the truth about lips, for validation."""

from __future__ import annotations

import numpy as np

from moditalker.landmarks import MOUTH, mouth_opening

LAGS = range(-2, 3)  # frames at 25 Hz
STILL = 1e-6  # eye distances; a curve that moves less only shows rounding


def opening_correlation(drawn: np.ndarray, truth: np.ndarray) -> float:
    """Pearson r of the inner-lip opening of landmarks (T, 68, 3) at the best lag within ±2 frames."""
    first, second = mouth_opening(drawn), mouth_opening(truth)
    return max(correlation(*shifted(first, second, lag)) for lag in LAGS)


def shifted(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Two curves of equal length where `second` is read `lag` frames later."""
    length = len(first) - abs(lag)
    return first[max(0, -lag) :][:length], second[max(0, lag) :][:length]


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson r; 0 where a curve does not move."""
    if len(first) < 2 or min(first.std(), second.std()) < STILL:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def amplitude_ratio(drawn: np.ndarray, truth: np.ndarray) -> float:
    """Standard deviation of the drawn opening over the true one's."""
    return float(mouth_opening(drawn).std() / max(mouth_opening(truth).std(), STILL))


def mouth_distance(drawn: np.ndarray, truth: np.ndarray) -> float:
    """LMD of the mouth: mean distance of its points, in % of the outer-eye distance."""
    return float(100 * np.linalg.norm(drawn[:, MOUTH] - truth[:, MOUTH], axis=-1).mean())


def scores(drawn: np.ndarray, truth: np.ndarray, initial: np.ndarray) -> dict[str, float]:
    """All figures of a clip, and `hold`: the distance if the initial landmark were held."""
    return {
        "opening_r": opening_correlation(drawn, truth),
        "amplitude": amplitude_ratio(drawn, truth),
        "mouth_lmd": mouth_distance(drawn, truth),
        "hold_lmd": mouth_distance(np.broadcast_to(initial, truth.shape), truth),
    }
