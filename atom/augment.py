"""Random changes to training windows, so that few people teach what holds for all.

Each keeps what is learned, the residual that goes with a sound, and changes what a small data set
would otherwise let the network recognise a clip by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moditalker.landmarks import MIRROR


@dataclass(frozen=True)
class Augmentation:
    """How much of each change; 0 turns one off."""

    initial_noise: float = 0.003
    "Standard deviation of noise on the initial landmark, in eye distances."
    speech_noise: float = 0.1
    "Standard deviation of noise on speech features, in their own."
    mirror: float = 0.5
    "Probability of exchanging left and right."
    identity: float = 0.0
    "Probability of moving the motion to a face between this person's and another's."
    tempo: float = 0.0
    "Windows play faster or slower by up to this part."


def mirrored(landmarks: np.ndarray) -> np.ndarray:
    """Canonical landmarks (..., 68, 3) with left and right exchanged."""
    return (landmarks[..., list(MIRROR), :] * [-1, 1, 1]).astype(np.float32)


def read_at(track: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (N, ...) of a track (T, ...) at fractional places (N,), held beyond its ends."""
    places = places.clip(0, len(track) - 1)
    before = np.minimum(places.astype(int), max(0, len(track) - 2))
    part = (places - before).reshape(-1, *[1] * (track.ndim - 1)).astype(np.float32)
    after = np.minimum(before + 1, len(track) - 1)
    return track[before] * (1 - part) + track[after] * part
