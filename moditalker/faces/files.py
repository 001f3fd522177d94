"""Landmark files as input, for those who have no use for a detector."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from pathlib import Path

import numpy as np

from moditalker.errors import MotionFileError
from moditalker.landmarks import COUNT

COLUMN = re.compile(r"([xyz])_?(\d+)")  # x0 as in our own files, x_0 as in OpenFace's


def load_landmarks(path: str | Path) -> np.ndarray:
    """Landmarks (68, 3) or (T, 68, 3), float32, from .npy, .npz, .csv, .json or .pts.

    Points of two coordinates get z = 0. An `.npz` or the object of a `.json` holds them as
    `landmarks`, and so does every motion file; a `.csv` has a row a frame, by column names (x0 or
    x_0 ...) or as 136 or 204 numbers, or a row a point. Raises MotionFileError.
    """
    path = Path(path)
    readers = {
        ".npy": read_npy,
        ".npz": read_npz,
        ".csv": read_csv,
        ".json": read_json,
        ".pts": read_pts,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise MotionFileError(f"{path}: landmarks come as {', '.join(readers)}.")
    if not path.is_file():
        raise MotionFileError(f"{path}: no such file.")
    try:
        points = np.asarray(reader(path), dtype=np.float32)
    except (ValueError, TypeError, LookupError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MotionFileError(f"{path} is not a landmark file: {reason}") from error
    return checked(points, path)


def checked(points: np.ndarray, path: Path) -> np.ndarray:
    """Points with three coordinates; MotionFileError where they are not 68 finite ones a frame."""
    if points.ndim not in (2, 3) or points.shape[-2] != COUNT or points.shape[-1] not in (2, 3):
        raise MotionFileError(f"{path} holds {points.shape}, not (68, 3) or (T, 68, 3) landmarks.")
    if len(points) == 0 or not np.isfinite(points).all():
        raise MotionFileError(f"{path} holds no frames, or numbers that are not finite.")
    if points.shape[-1] == 2:
        points = np.concatenate([points, np.zeros_like(points[..., :1])], axis=-1)
    return points


def read_npy(path: Path) -> np.ndarray:
    """The array; never a pickle."""
    return np.load(path, allow_pickle=False)


def read_npz(path: Path) -> np.ndarray:
    """The array `landmarks`; never a pickle."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["landmarks"]


def read_json(path: Path) -> np.ndarray:
    """The list `landmarks`, or the whole file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return np.array(content["landmarks"] if isinstance(content, dict) else content)


def read_pts(path: Path) -> np.ndarray:
    """iBUG's .pts: points between braces; they count pixels from 1."""
    inside = path.read_text(encoding="utf-8").split("{")[1].split("}")[0]
    return np.array([line.split() for line in inside.strip().splitlines()], dtype=np.float32) - 1


def read_csv(path: Path) -> np.ndarray:
    """Columns by name where there is a header, else a row a frame or a row a point."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    rows = [row for row in rows if any(row) and not row[0].startswith("#")]
    columns = named_columns(rows[0])
    if columns:
        table = [[float(row[column]) for column in columns] for row in rows[1:]]
        return np.array(table).reshape(len(table), COUNT, -1)
    values = np.array(rows, dtype=np.float32)
    return values if values.shape[1] in (2, 3) else values.reshape(len(values), COUNT, -1)


def named_columns(header: list[str]) -> list[int]:
    """Where x, y and, if there, z of each point stand, point by point; empty without such names."""
    matches = [COLUMN.fullmatch(name) for name in header]
    place = {(m[1], int(m[2])): column for column, m in enumerate(matches) if m}
    axes = [axis for axis in "xyz" if (axis, 0) in place]
    return [place[axis, point] for point in range(COUNT if axes else 0) for axis in axes]
