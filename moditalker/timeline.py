"""Which reference frame the output shows when, for a sound of any length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, repeat
from typing import Literal

import numpy as np

from moditalker.errors import ReferenceVideoError, SettingsError

Mode = Literal["pingpong", "loop", "freeze", "error"]
MODES = ("pingpong", "loop", "freeze", "error")


@dataclass(frozen=True)
class Timeline:
    """The reference's frames in the order of the output."""

    indices: np.ndarray
    "(F,) frames of the reference."
    times: np.ndarray
    "(F,) seconds at which each appears; the first is 0."


def extend(
    times: np.ndarray, last_duration: float, seconds: float, mode: Mode = "pingpong"
) -> Timeline:
    """Frames for an output as long as the sound, to one frame.

    Each frame keeps its own duration, also on the way back, so that variable rates stay what they
    are. Raises ReferenceVideoError where the reference is too short and `mode` is `error`.
    """
    if mode not in MODES:
        raise SettingsError(f"--extend is '{mode}'. Take {', '.join(MODES)}.")
    durations = np.append(np.diff(times), last_duration)
    if mode == "error" and durations.sum() + durations[-1] / 2 < seconds:
        raise ReferenceVideoError(
            f"the reference lasts {durations.sum():.2f} s, the sound {seconds:.2f} s. Take --extend "
            "pingpong, loop or freeze."
        )
    indices: list[int] = []
    starts: list[float] = []
    now = 0.0
    for index in order(len(times), mode):
        # A frame is shown if more than half of it lies within the sound.
        if indices and now + durations[index] / 2 > seconds:
            break
        indices.append(index)
        starts.append(now)
        now += float(durations[index])
    return Timeline(np.array(indices), np.array(starts))


def order(count: int, mode: Mode) -> Iterator[int]:
    """Frame numbers without end; back and forth, no frame is shown twice in a row."""
    if mode == "pingpong" and count > 1:
        return cycle([*range(count), *range(count - 2, 0, -1)])
    if mode == "loop":
        return cycle(range(count))
    return held(count)


def held(count: int) -> Iterator[int]:
    """All frames once, then the last one for ever."""
    yield from range(count)
    yield from repeat(count - 1)
