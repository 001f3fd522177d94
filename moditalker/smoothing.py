"""Smoothing over time, at any frame rate and with uneven times."""

from __future__ import annotations

import numpy as np

REACH = 4.0  # a Gaussian's weight beyond so many standard deviations is left out
BLOCK = 4096  # frames at a time, so that memory stays small for long videos


def frame_times(count: int, times: np.ndarray | float) -> np.ndarray:
    """Times (T,) in seconds, from themselves or from frames per second."""
    if np.ndim(times) == 0:
        return np.arange(count) / float(times)
    return np.asarray(times, dtype=np.float64)


def smoothed(
    values: np.ndarray,
    times: np.ndarray | float,
    seconds: float,
    *,
    degree: int = 1,
    shots: np.ndarray | None = None,
) -> np.ndarray:
    """Values (T, ...) smoothed by local polynomials under a Gaussian in time (Cleveland 1979).

    Degree 1 equals a Gaussian filter at even rates and keeps slopes up to the ends; degree 2 also
    keeps peaks and swings. `times` is (T,) seconds or frames per second, `seconds` the Gaussian's
    standard deviation (0: unchanged), `shots` (T,) numbers of shots, which do not mix.
    """
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    if seconds <= 0 or len(flat) < 2:
        return flat.reshape(np.shape(values)).copy()
    instants = frame_times(len(flat), times)
    labels = np.zeros(len(flat), int) if shots is None else shots
    out = np.empty_like(flat)
    for start in range(0, len(flat), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(flat)))
        neighbours, weights = kernel(rows, instants, labels, seconds, degree)
        out[rows] = sum(w[:, None] * flat[n] for n, w in zip(neighbours.T, weights.T, strict=True))
    return out.reshape(np.shape(values))


def kernel(
    rows: np.ndarray, times: np.ndarray, shots: np.ndarray, seconds: float, degree: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each row's neighbours (R, K), as frame numbers, and their weights (R, K)."""
    first = np.searchsorted(times, times[rows] - REACH * seconds)
    after = np.searchsorted(times, times[rows] + REACH * seconds, side="right")
    index = first[:, None] + np.arange((after - first).max())
    inside = index < after[:, None]
    index = index.clip(0, len(times) - 1)
    lag = (times[index] - times[rows, None]) / seconds
    near = inside & (shots[index] == shots[rows, None])
    weight = np.where(near, np.exp(-0.5 * lag**2), 0.0)
    powers = lag[..., None] ** np.arange(degree + 1)
    moments = np.einsum("rk,rki,rkj->rij", weight, powers, powers)
    # Where a frame has too few neighbours for the degree, its polynomial falls back to a lower one.
    moments += np.diag([0.0] + [1e-6] * degree)
    at_zero = np.linalg.inv(moments)[:, 0]
    return index, weight * np.einsum("rki,ri->rk", powers, at_zero)
