"""What a speech encoder is, and how encoders read long sound in windows with context."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

WHISPER = "whisper-tiny.en"
RATE = 16000
SAMPLES_PER_FEATURE = 320  # 50 Hz
SAMPLES_PER_FRAME = 640  # 25 Hz motion


class SpeechEncoder(Protocol):
    """Sound to features at 50 Hz."""

    name: str
    dim: int

    def encode(self, samples: np.ndarray) -> Tensor:
        """Samples (N,) float32 at 16 kHz to features (2 ceil(N / 640), dim), float32.

        Two features make one motion frame; feature i hears the sound around (i + 0.5) / 50 s.
        """
        ...


def feature_count(samples: int) -> int:
    """How many features a sound of so many samples has: an even number."""
    return 2 * -(-samples // SAMPLES_PER_FRAME)


def file_name(encoder: str) -> str:
    """An encoder's name as part of a file name: a folder's or a hub id's slashes become dashes."""
    return re.sub(r"[^\w.-]+", "-", encoder.strip("/"))


def in_windows(
    encode: Callable[[np.ndarray], Tensor], samples: np.ndarray, window: float, context: float
) -> Tensor:
    """Features of a sound of any length, `window` seconds at a time.

    Every window is read with so many seconds of `context` of the true sound on both sides, never
    with zeros in its place, so that there is no flicker where windows meet. The sound's own end is
    padded by the few zeros that its last feature lacks.
    """
    import torch

    count = feature_count(len(samples))
    samples = np.pad(samples, (0, count * SAMPLES_PER_FEATURE - len(samples)))
    stride, margin = (round(seconds * 50) for seconds in (window, context))
    parts = []
    for start in range(0, count, stride):
        stop = min(start + stride, count)
        low, high = max(0, start - margin), min(count, stop + margin)
        features = encode(samples[low * SAMPLES_PER_FEATURE : high * SAMPLES_PER_FEATURE])
        parts.append(fitted(features, high - low)[start - low : stop - low])
    return torch.cat(parts)


def fitted(features: Tensor, count: int) -> Tensor:
    """Features (F, dim) cut, or their last one repeated, to `count`."""
    missing = count - len(features)
    if missing <= 0:
        return features[:count]
    import torch

    return torch.cat([features, features[-1:].expand(missing, -1)])
