"""Facial motion: landmarks over time, at any rate, and controls over them (DESIGN §3, §4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moditalker.errors import MotionFileError
from moditalker.landmarks import CHIN, COUNT, INNER_LIP_PAIRS, LIP_GROUP, NAMES
from moditalker.smoothing import smoothed

SPACES = ("frontal", "image")
UPPER_LIP, LOWER_LIP = [49, 50, 51, 52, 53], [59, 58, 57, 56, 55]  # outer, from the left
INNER_LOWER_LIP = [67, 66, 65]
UPPER_SHARE = 0.2  # of a gap between the lips, what the upper lip closes; the jaw does the rest


@dataclass(frozen=True, eq=False)
class Motion:
    """The 68 landmarks of a face over T frames.

    Raises MotionFileError where the arrays contradict each other.
    """

    landmarks: np.ndarray
    "(T, 68, 3) float32: canonical where `space` is frontal, else image pixels."
    times: np.ndarray
    "(T,) float64 seconds, increasing."
    space: str
    "`frontal` or `image`."
    identity: np.ndarray
    "(68, 3) float32, canonical: the initial landmark, from which the residuals count."
    affine: np.ndarray | None = None
    "(T, 2, 4) float64, canonical space to image pixels; posed motion has it."

    def __post_init__(self) -> None:
        frames = len(np.atleast_1d(self.landmarks))
        set_array(self, "landmarks", np.float32, (frames, COUNT, 3))
        set_array(self, "times", np.float64, (frames,))
        set_array(self, "identity", np.float32, (COUNT, 3))
        if self.affine is not None:
            set_array(self, "affine", np.float64, (frames, 2, 4))
        if self.space not in SPACES:
            raise MotionFileError(f"space is '{self.space}'; it must be frontal or image.")
        if frames == 0:
            raise MotionFileError("the motion has no frames.")
        late = np.flatnonzero(np.diff(self.times) <= 0)
        if late.size:
            before, after = self.times[late[0] : late[0] + 2]
            raise MotionFileError(
                f"times must increase: frame {late[0] + 1} at {after:.6g} s follows {before:.6g} s."
            )

    def __len__(self) -> int:
        return len(self.times)

    @property
    def residual(self) -> np.ndarray:
        """(T, 68, 3) what AToM predicts: landmarks without the identity. Frontal motion only."""
        return only_frontal(self).landmarks - self.identity

    def save(self, path: str | Path) -> None:
        """Write `.npz`, `.csv` or `.json`, all of them without loss.

        Raises MotionFileError for another ending, OutputError where the file cannot be written.
        """
        from moditalker.motion_files import write_fields

        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        present = {name: value for name, value in fields.items() if value is not None}
        write_fields(Path(path), present)

    @classmethod
    def load(cls, path: str | Path) -> Motion:
        """Read what `save` wrote. Raises MotionFileError that names the file and its fault."""
        from moditalker.motion_files import read_fields

        fields: dict[str, Any] = read_fields(Path(path))
        try:
            return cls(**fields)
        except MotionFileError as error:
            raise MotionFileError(f"{path}: {error}") from error

    def resample(self, times: np.ndarray) -> Motion:
        """The motion at other `times` (F,) in seconds; held before its start and after its end."""
        times = np.asarray(times, dtype=np.float64)
        if np.array_equal(times, self.times):
            return self
        affine = self.affine
        return replace(
            self,
            landmarks=interpolate(self.times, self.landmarks, times),
            times=times,
            affine=None if affine is None else interpolate(self.times, affine, times),
        )

    def to_image(self, affine: np.ndarray) -> Motion:
        """Frontal motion posed by maps (T, 2, 4); depth is scaled as x and y are."""
        from moditalker.aligner import apply_affine, pose_from_affine

        frontal = only_frontal(self)
        affine = np.asarray(affine, dtype=np.float64)
        if affine.shape != (len(self), 2, 4):
            raise MotionFileError(
                f"{len(self)} frames need maps ({len(self)}, 2, 4), not {affine.shape}."
            )
        pose = pose_from_affine(affine)
        forward = pose.rotation[:, 2] * pose.scale[:, None]
        depth = np.einsum("tj,tnj->tn", forward, frontal.landmarks)
        landmarks = np.concatenate(
            [apply_affine(affine, frontal.landmarks), depth[..., None]], axis=-1
        )
        return replace(self, landmarks=landmarks, space="image", affine=affine)


def set_array(motion: Motion, name: str, dtype: type, shape: tuple[int, ...]) -> None:
    """Give a field its type; MotionFileError where it has another shape or is not finite."""
    try:
        array: np.ndarray = np.asarray(getattr(motion, name), dtype=dtype)
    except (TypeError, ValueError) as error:
        raise MotionFileError(f"{name} is not an array of numbers: {error}") from error
    if array.shape != shape:
        raise MotionFileError(f"{name} has the shape {array.shape}; {shape} is needed.")
    if not np.isfinite(array).all():
        where = [int(index[0]) for index in np.nonzero(~np.isfinite(array))]
        detail = f" (frame {where[0]}, {NAMES[where[1]]})" if name == "landmarks" else ""
        raise MotionFileError(f"{name} has a number that is not finite{detail}.")
    object.__setattr__(motion, name, array)


def only_frontal(motion: Motion) -> Motion:
    """The motion itself; MotionFileError where it is posed."""
    if motion.space != "frontal":
        raise MotionFileError("this needs frontal motion, and the motion is already posed.")
    return motion


def interpolate(times: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values (T, ...) at `times` (T,), read at `wanted` (F,): float64 (F, ...), held at the edges.

    A cubic spline, fourth order where the signal is smooth; its slopes are limited so that a step
    does not ring.
    """
    from scipy.interpolate import CubicHermiteSpline, CubicSpline

    values = np.asarray(values, dtype=np.float64)
    wanted = np.clip(wanted, times[0], times[-1])
    if len(times) == 1:
        return np.repeat(values, len(wanted), axis=0)
    slopes = CubicSpline(times, values)(times, 1)
    if len(times) > 2:
        slopes = limited_slopes(times, values, slopes)
    return CubicHermiteSpline(times, values, slopes)(wanted)


def limited_slopes(times: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Slopes (T, ...) that keep monotone stretches monotone and smooth extrema exact.

    Huynh, Accurate monotone cubic interpolation, SIAM J. Numer. Anal. 30 (1993), section 4. At the
    two ends the slope is at most thrice the only secant's.
    """
    gaps = np.diff(times).reshape(-1, *[1] * (values.ndim - 1))
    secant = np.diff(values, axis=0) / gaps
    bend = np.diff(secant, axis=0) / (gaps[1:] + gaps[:-1])
    bend = np.concatenate([bend[:1], bend, bend[-1:]])
    curve = gaps * minmod(bend[:-1], bend[1:])
    parabola = minmod(secant[:-1] + curve[:-1], secant[1:] - curve[1:])
    steepest = np.maximum(3 * abs(minmod(secant[:-1], secant[1:])), 1.5 * abs(parabola))
    limited = np.empty_like(slopes)
    limited[[0, -1]] = minmod(slopes[[0, -1]], 3 * secant[[0, -1]])
    limited[1:-1] = minmod(slopes[1:-1], np.sign(parabola) * steepest)
    return limited


def minmod(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smaller of two numbers of one sign, else 0; elementwise."""
    return (np.sign(first) + np.sign(second)) / 2 * np.minimum(abs(first), abs(second))


def scale_lips(motion: Motion, factor: float = 1.0) -> Motion:
    """Lips and jaw move `factor` times as far from the identity; 1.0 changes nothing."""
    check_control("lip scale", factor)
    if factor == 1.0:
        return motion
    landmarks = motion.landmarks.copy()
    lips = list(LIP_GROUP)
    landmarks[:, lips] = motion.identity[lips] + factor * motion.residual[:, lips]
    return replace(motion, landmarks=landmarks)


def smooth(motion: Motion, seconds: float = 0.0) -> Motion:
    """The landmarks under a Gaussian of `seconds` (standard deviation); 0.0 changes nothing."""
    check_control("smoothing", seconds)
    if seconds == 0.0 or len(motion) < 3:
        return motion
    return replace(motion, landmarks=smoothed(motion.landmarks, motion.times, seconds))


def close_when_silent(
    motion: Motion,
    voice_activity: np.ndarray,
    *,
    amount: float = 1.0,
    attack: float = 0.12,
    release: float = 0.2,
    lead: float = 0.16,
    hold: float = 0.12,
    threshold: float = 0.5,
) -> Motion:
    """Where no voice is, ease lips and jaw to the identity's closed mouth.

    `voice_activity` (T,) in [0, 1] counts as voice from `threshold`. Lips part before a word is
    heard, so the motion is whole from `lead` seconds before each onset (and eases in over the
    `attack` before that) until `hold` seconds after each end (and eases out over the `release`).
    Where there is voice, and with `amount` 0, nothing changes.
    """
    check_control("amount of the silence gate", amount)
    activity = np.asarray(voice_activity)
    if activity.shape != motion.times.shape:
        raise MotionFileError(
            f"voice activity has {activity.shape} values for {len(motion)} frames."
        )
    spoken = motion.times[activity >= threshold]
    gate = np.maximum(
        ease(time_to_next(spoken, motion.times), lead, attack),
        ease(time_to_next(-spoken[::-1], -motion.times), hold, release),
    )
    lips = list(LIP_GROUP)
    landmarks = only_frontal(motion).landmarks.copy()
    away = closed_mouth(motion.identity)[lips] - landmarks[:, lips]
    landmarks[:, lips] += (min(amount, 1.0) * (1 - gate))[:, None, None] * away
    return replace(motion, landmarks=landmarks)


def time_to_next(events: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) seconds from each of `times` to the next of the sorted `events`, or inf."""
    return np.append(events, np.inf)[np.searchsorted(events, times)] - times


def ease(seconds: np.ndarray, full: float, fade: float) -> np.ndarray:
    """1 up to `full` seconds, then a half cosine down to 0 over `fade` seconds."""
    phase = np.clip((seconds - full) / max(fade, 1e-9), 0, 1)
    return 0.5 + 0.5 * np.cos(np.pi * phase)


def closed_mouth(identity: np.ndarray) -> np.ndarray:
    """The identity (68, 3) with its lips shut: the gap closes mostly by raising the jaw."""
    closed = np.asarray(identity, dtype=np.float32).copy()
    upper, lower = (list(side) for side in np.transpose(INNER_LIP_PAIRS))
    gap = closed[upper] - closed[lower]
    closed[UPPER_LIP] -= UPPER_SHARE * gap_at(identity, UPPER_LIP, gap)
    closed[LOWER_LIP] += (1 - UPPER_SHARE) * gap_at(identity, LOWER_LIP, gap)
    closed[upper] -= UPPER_SHARE * gap
    closed[lower] = closed[upper]
    jaw = np.arange(17)
    rise = np.clip(1.3 * np.cos((jaw - CHIN) * np.pi / 14), 0, 1)[:, None]
    closed[jaw] += (1 - UPPER_SHARE) * rise * gap.mean(axis=0)
    return closed


def gap_at(face: np.ndarray, points: list[int], gap: np.ndarray) -> np.ndarray:
    """The gap (3, 3) between the lips as it is above or below other points, (points, 3).

    It is that of the inner lips' three pairs, and none at the corners of the mouth.
    """
    across = face[:, 0]
    known = across[[48, *INNER_LOWER_LIP, 54]]
    gaps = np.concatenate([np.zeros((1, 3)), gap, np.zeros((1, 3))])
    return np.stack([np.interp(across[points], known, part) for part in gaps.T], axis=-1)


def check_control(name: str, value: float) -> None:
    """MotionFileError where a control is not a number from 0 up."""
    if not np.isfinite(value) or value < 0:
        raise MotionFileError(f"the {name} is {value}; it must be 0 or more.")
