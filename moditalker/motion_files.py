"""Motion files: `.npz`, `.csv` and `.json` to and from the plain fields of a `Motion`."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from moditalker.errors import MotionFileError
from moditalker.landmarks import COUNT, NAMES

FORMAT, VERSION = "moditalker-motion", 1
REQUIRED = ("landmarks", "times", "space", "identity")
POINT_COLUMNS = [f"{axis}{point}" for point in range(COUNT) for axis in "xyz"]
AFFINE_COLUMNS = [f"a{row}{column}" for row in range(2) for column in range(4)]

Fields = dict[str, Any]


def write_fields(path: Path, fields: Fields) -> None:
    """Write the fields of a motion, whole or not at all; the ending chooses the format."""
    from moditalker.media import atomic_output

    write = chosen(path, {".npz": write_npz, ".csv": write_csv, ".json": write_json})
    with atomic_output(path) as beside:
        write(Path(beside), fields)


def read_fields(path: Path) -> Fields:
    """Read the fields of a motion. Raises MotionFileError that names the file and its fault."""
    read = chosen(path, {".npz": read_npz, ".csv": read_csv, ".json": read_json})
    if not path.is_file():
        raise MotionFileError(f"{path}: no such file.")
    try:
        fields = read(path)
    except MotionFileError as error:
        raise MotionFileError(f"{path}: {error}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MotionFileError(f"{path} is damaged or not a motion file: {reason}") from error
    missing = [name for name in REQUIRED if name not in fields]
    if missing:
        raise MotionFileError(
            f"{path} lacks {', '.join(missing)}; motion needs {', '.join(REQUIRED)}."
        )
    return fields


def chosen(path: Path, formats: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function for the ending of `path`."""
    suffix = path.suffix.lower()
    if suffix not in formats:
        raise MotionFileError(
            f"{path}: motion files end in {', '.join(formats)}, not '{path.suffix}'."
        )
    return formats[suffix]


def write_npz(path: Path, fields: Fields) -> None:
    """Arrays by name, compressed."""
    with open(path, "wb") as file:
        np.savez_compressed(file, **fields)


def read_npz(path: Path) -> Fields:
    """The known arrays; never a pickle."""
    with np.load(path, allow_pickle=False) as arrays:
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise MotionFileError("a single array, not an .npz of named arrays.")
        names = [name for name in (*REQUIRED, "affine") if name in arrays.files]
        fields: Fields = {name: arrays[name] for name in names}
    if "space" in fields:
        fields["space"] = str(fields["space"])
    return fields


def write_json(path: Path, fields: Fields) -> None:
    """One object; numbers as short as they can be without loss."""
    content: Fields = {"format": FORMAT, "version": VERSION, "names": NAMES}
    content["space"] = fields["space"]
    for name in ("times", "identity", "affine", "landmarks"):
        if name in fields:
            content[name] = shortest(fields[name]).tolist()
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def read_json(path: Path) -> Fields:
    """What `write_json` wrote; unknown keys are ignored."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise MotionFileError("the top of a motion .json is an object, not a list.")
    check_version(content.get("version", VERSION))
    return {name: content[name] for name in (*REQUIRED, "affine") if content.get(name) is not None}


def shortest(array: np.ndarray) -> np.ndarray:
    """The doubles whose shortest decimals are those of `array`: 0.1, not 0.10000000149."""
    return array.astype(str).astype(np.float64)


def write_csv(path: Path, fields: Fields) -> None:
    """Metadata rows that start with `#`, a header, then one row a frame: time, map, points.

    Metadata stand in cells of their own, so that a spreadsheet program can save the file again.
    """
    frames = len(fields["times"])
    parts, header = [fields["times"][:, None].astype(str)], ["time"]
    if "affine" in fields:
        parts.append(fields["affine"].reshape(frames, -1).astype(str))
        header += AFFINE_COLUMNS
    parts.append(fields["landmarks"].reshape(frames, -1).astype(str))
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([f"# {FORMAT}", VERSION])
        rows.writerow(["# space", fields["space"]])
        rows.writerow(["# identity", *fields["identity"].ravel().astype(str)])
        rows.writerow(header + POINT_COLUMNS)
        rows.writerows(np.concatenate([part.astype(object) for part in parts], axis=1))


def read_csv(path: Path) -> Fields:
    """What `write_csv` wrote, with its columns in any order."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        metadata, header, table = split_csv(file)
    check_version(metadata.get(FORMAT, [VERSION])[0])
    fields: Fields = {}
    if metadata.get("space"):
        fields["space"] = metadata["space"][0]
    if "identity" in metadata:
        fields["identity"] = points(np.array(metadata["identity"], dtype=np.float32))[0]
    place = {name: column for column, name in enumerate(header)}
    lacking = [name for name in ("time", *POINT_COLUMNS) if name not in place]
    if lacking:
        raise MotionFileError(
            f"of time and x0 to z67, {len(lacking)} columns are missing (first: {lacking[0]})."
        )
    fields["times"] = numbers(table, [place["time"]], np.float64)[:, 0]
    fields["landmarks"] = points(
        numbers(table, [place[name] for name in POINT_COLUMNS], np.float32)
    )
    if all(name in place for name in AFFINE_COLUMNS):
        columns = [place[name] for name in AFFINE_COLUMNS]
        fields["affine"] = numbers(table, columns, np.float64).reshape(-1, 2, 4)
    return fields


def split_csv(file: TextIO) -> tuple[dict[str, list[str]], list[str], list[list[str]]]:
    """Metadata by name, the header, and the table's rows, without empty rows."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    rows = [row for row in rows if any(row)]
    metadata = {
        row[0].lstrip("# "): [cell for cell in row[1:] if cell]
        for row in rows
        if row[0].startswith("#")
    }
    table = [row for row in rows if not row[0].startswith("#")]
    return metadata, table[0] if table else [], table[1:]


def numbers(table: list[list[str]], columns: list[int], dtype: type) -> np.ndarray:
    """The cells of some columns (T, columns); MotionFileError names the first short row."""
    for frame, row in enumerate(table):
        if len(row) <= max(columns):
            raise MotionFileError(f"frame {frame} has {len(row)} cells; its row is cut off.")
    return np.array([[row[column] for column in columns] for row in table], dtype=dtype).reshape(
        len(table), len(columns)
    )


def points(flat: np.ndarray) -> np.ndarray:
    """Numbers (..., 204) as landmarks (T, 68, 3)."""
    if flat.shape[-1:] != (3 * COUNT,):
        raise MotionFileError(f"the identity has {flat.shape[-1]} numbers, not {3 * COUNT}.")
    return flat.reshape(-1, COUNT, 3)


def check_version(version: Any) -> None:
    """MotionFileError where the file is newer than this program."""
    if str(version) != str(VERSION):
        raise MotionFileError(
            f"version {version} of the motion format; this program reads version {VERSION}."
        )
