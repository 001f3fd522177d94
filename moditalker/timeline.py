"""Stretch a reference video over the length of the sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from moditalker.errors import ReferenceVideoError, SettingsError

Mode = Literal["pingpong", "loop", "freeze", "error"]


@dataclass(frozen=True)
class Timeline:
    """Which reference frame is shown when.

    Attributes:
        indices: `(F,)` int64, frames of the reference.
        times: `(F,)` float64, seconds from 0 at which each is shown.
        last_duration: seconds for which the last one stays.
    """

    indices: np.ndarray
    times: np.ndarray
    last_duration: float

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def seconds(self) -> float:
        """Length of the whole."""
        return float(self.times[-1] + self.last_duration)


def extend(
    times: np.ndarray, last_duration: float, seconds: float, mode: Mode = "pingpong"
) -> Timeline:
    """Lay out reference frames so that they last as long as the sound, to one frame.

    Every frame keeps its own duration. Running backwards, the time between two neighbours is what
    it was running forwards, so a variable frame rate plays mirrored; the frames at both ends are
    shown once a turn. A reference that is longer than the sound is cut in every mode.

    Args:
        times: `(T,)` seconds of the reference's frames, increasing.
        last_duration: seconds for which its last frame is shown.
        seconds: length of the sound.
        mode: what follows the end: back and forth, from the start again, the last frame standing
            (in steps of the median interval, so that its mouth can move), or an error.

    Raises:
        SettingsError: unknown mode, or no positive length.
        ReferenceVideoError: mode `error`, and the reference is shorter by more than half a frame.
    """
    if mode not in get_args(Mode):
        raise SettingsError(f"unknown mode {mode!r}. Choose one of {', '.join(get_args(Mode))}.")
    if not seconds > 0:
        raise SettingsError(f"the length must be positive, not {seconds} s.")
    times = np.asarray(times, dtype=np.float64)
    durations = np.append(np.diff(times), last_duration)
    if mode == "error":
        _require_length(float(durations.sum()), float(np.median(durations)), seconds)
    walk, steps = _walk(durations, seconds, mode)
    return _cut(walk, steps, float(np.median(durations)), seconds)


def _require_length(length: float, interval: float, seconds: float) -> None:
    if length < seconds - interval / 2:
        raise ReferenceVideoError(
            f"the reference video lasts {length:.2f} s, less than the sound's {seconds:.2f} s. "
            "Take --extend pingpong, loop or freeze, or a longer one."
        )


def _walk(durations: np.ndarray, seconds: float, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
    """Frames and their durations, for at least `seconds`."""
    forward = np.arange(len(durations))
    if len(durations) == 1 or mode in ("freeze", "error"):
        interval = float(np.median(durations))
        extra = max(0, int(np.ceil((seconds - durations.sum()) / interval)) + 1)
        indices = np.append(forward, np.full(extra, forward[-1]))
        return indices, np.append(durations, np.full(extra, interval))
    if mode == "loop":
        turn, steps = forward, durations
    else:
        # From node to node and back: the way from i to i + 1 takes as long as the way back.
        turn = np.append(forward, forward[-2:0:-1])
        steps = np.append(durations[:-1], durations[-2::-1])
    turns = int(np.ceil(seconds / steps.sum())) + 1
    return np.tile(turn, turns), np.tile(steps, turns)


def _cut(indices: np.ndarray, steps: np.ndarray, interval: float, seconds: float) -> Timeline:
    """Keep the frames of which half, or half a usual one, still falls within `seconds`."""
    starts = np.append(0.0, np.cumsum(steps)[:-1])
    # A thousandth keeps sums of rounded steps from deciding an exact half.
    half = np.minimum(steps, interval) * 0.499
    count = max(1, int(np.searchsorted(starts + half >= seconds, True)))
    rest = seconds - starts[count - 1]
    last = min(float(steps[count - 1]), max(float(rest), interval))
    return Timeline(indices[:count].astype(np.int64), starts[:count], last)
