"""Frame rates behind lists of times."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

# Times that stray less than this from a constant rate only show the rounding of their source.
JITTER_SECONDS = 6e-4


def common_rate(times: np.ndarray) -> Fraction | None:
    """The constant rate of `(T,)` times in seconds, at least two; None where there is none.

    Of whole numbers and their NTSC neighbours (24000/1001) the nearest is taken, and another
    fraction only where neither fits.
    """
    mean = (len(times) - 1) / float(times[-1] - times[0])
    usual = (Fraction(round(mean)), Fraction(round(mean * 1.001) * 1000, 1001))
    strays = {rate: _strays(times, rate) for rate in usual if rate}
    best = min(strays, key=lambda rate: strays[rate], default=None)
    if best is None or strays[best] > JITTER_SECONDS:
        best = Fraction(mean).limit_denominator(1001)
    return best if best and _strays(times, best) <= JITTER_SECONDS else None


def _strays(times: np.ndarray, rate: Fraction) -> float:
    """How far the times lie from a constant rate at the most, apart from a common shift."""
    offsets = times - np.arange(len(times)) * (rate.denominator / rate.numerator)
    return float(np.ptp(offsets)) / 2
