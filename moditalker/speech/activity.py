"""Where somebody speaks, from the level of the sound alone."""

from __future__ import annotations

import numpy as np

HOP = 0.01  # seconds
FLOOR_PERCENTILE, SPEECH_PERCENTILE = 10, 95
ABOVE_FLOOR, BELOW_SPEECH, FADE = 9.0, 30.0, 6.0  # dB
QUIETEST = -70.0  # dB below full scale: never speech


def voice_activity(samples: np.ndarray, rate: int, times: np.ndarray) -> np.ndarray:
    """How surely somebody speaks at `times` (T,) in seconds: (T,) in [0, 1].

    Level in the band of the voice, against a threshold between the sound's own noise floor and its
    speech level. A sound without pauses is all speech; noise of constant level too.
    """
    level = band_level(samples, rate)
    floor, loud = np.percentile(level, [FLOOR_PERCENTILE, SPEECH_PERCENTILE])
    threshold = max(min(floor + ABOVE_FLOOR, loud - FADE), loud - BELOW_SPEECH, QUIETEST)
    active = np.clip((level - threshold) / FADE + 0.5, 0, 1)
    centres = (np.arange(len(level)) + 0.5) * HOP
    return np.interp(times, centres, active)


def band_level(samples: np.ndarray, rate: int) -> np.ndarray:
    """Level in dB of 100 to 4000 Hz, in steps of `HOP`, over 30 ms."""
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, sosfilt

    top = min(4000.0, 0.45 * rate)
    voice = sosfilt(butter(2, [100.0, top], "bandpass", fs=rate, output="sos"), samples)
    hop = max(1, round(HOP * rate))
    count = max(1, -(-len(voice) // hop))
    power = np.square(np.pad(voice, (0, count * hop - len(voice)))).reshape(count, hop).mean(axis=1)
    return 10 * np.log10(uniform_filter1d(power, 3, mode="nearest").clip(1e-12))
