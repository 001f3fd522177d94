"""Landmark files as input, for those who have no use for a detector."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from moditalker.errors import MotionFileError


def load_landmarks(path: str | Path) -> np.ndarray:
    """Landmarks (68, 3) or (T, 68, 3), float32, from .npy, .npz, .csv, .json or .pts.

    Two-dimensional points get z = 0. `.npz` is read at `landmarks`, `.json` likewise or as a bare
    list. Raises MotionFileError.
    """
    path = Path(path)
    readers = {".npy": np.load, ".npz": read_npz, ".csv": read_csv, ".json": read_json, ".pts": read_pts}
    if path.suffix.lower() not in readers:
        raise MotionFileError(f"{path}: landmarks come as .npy, .npz, .csv, .json or .pts.")
    if not path.exists():
        raise MotionFileError(f"{path}: no such file.")
    try:
        points = np.asarray(readers[path.suffix.lower()](path), dtype=np.float32)
    except (ValueError, KeyError, OSError) as error:
        raise MotionFileError(f"{path} is not a landmark file: {error}") from error
    return checked(points, path)


def checked(points: np.ndarray, path: Path) -> np.ndarray:
    """Points with three coordinates; MotionFileError where they are not 68 finite points."""
    if points.ndim not in (2, 3) or points.shape[-2] != 68 or points.shape[-1] not in (2, 3):
        raise MotionFileError(f"{path} holds {points.shape}, not (68, 3) or (T, 68, 3) landmarks.")
    if not np.isfinite(points).all():
        raise MotionFileError(f"{path} holds numbers that are not finite.")
    if points.shape[-1] == 2:
        points = np.concatenate([points, np.zeros_like(points[..., :1])], axis=-1)
    return points


def read_npz(path: Path) -> np.ndarray:
    """The array `landmarks`."""
    with np.load(path) as file:
        return file["landmarks"]


def read_csv(path: Path) -> np.ndarray:
    """One frame a row, or one point a row where there are 68 rows of 2 or 3 numbers."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [line.split(",") for line in lines if not line.startswith("#")]
    if not is_number(rows[0][0]):
        rows = rows[1:]
    values = np.array(rows, dtype=np.float32)
    if values.shape[1] in (2, 3):
        return values
    extra = values.shape[1] % 68  # leading columns such as the time
    return values[:, extra:].reshape(len(values), 68, -1)


def is_number(text: str) -> bool:
    """Whether `text` reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_json(path: Path) -> np.ndarray:
    """The list `landmarks`, or the whole file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return np.array(content["landmarks"] if isinstance(content, dict) else content)


def read_pts(path: Path) -> np.ndarray:
    """iBUG's .pts: points between braces; they count pixels from 1."""
    inside = path.read_text(encoding="utf-8").split("{")[1].split("}")[0]
    return np.array([line.split() for line in inside.strip().splitlines()], dtype=np.float32) - 1
