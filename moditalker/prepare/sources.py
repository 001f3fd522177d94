"""Which videos there are, who is in them, and what to call their clips."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moditalker.errors import DatasetError

ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".m4v")


@dataclass(frozen=True)
class Source:
    """One video file."""

    path: Path
    name: str
    "Unique in the data set; clips are called `name` or `name-2`."
    person: str
    "Who is shown: clips of one person stay together when people are kept out of training."


def find_sources(videos: Iterable[str | Path]) -> list[Source]:
    """Videos of files and folders. Raises DatasetError where a path is missing or holds none.

    LRS3 (`trainval/<id>/00001.mp4`): the folder is the person. HDTF (`WDA_AlexandriaOcasioCortez_000`):
    the name without its number is. Elsewhere the name without a trailing number.
    """
    found: list[tuple[Path, Path]] = []
    for given in map(Path, videos):
        if not given.exists():
            raise DatasetError(f"{given} does not exist.")
        inside = sorted(p for p in given.rglob("*") if p.suffix.lower() in ENDINGS)
        files = [given] if given.is_file() else inside
        if not files:
            raise DatasetError(f"{given} holds no video ({', '.join(ENDINGS)}).")
        base = given.parent if given.is_file() else given
        found += [(file, file.relative_to(base)) for file in files]
    return named(found)


def named(found: list[tuple[Path, Path]]) -> list[Source]:
    """Sources with names that differ."""
    sources, taken = [], set()
    for path, inside in found:
        name = clean("-".join(inside.with_suffix("").parts))
        while name in taken:
            name += "+"
        taken.add(name)
        sources.append(Source(path, name, person(path)))
    return sources


def clean(name: str) -> str:
    """A name as a file name that every system takes; letters of any alphabet stay."""
    return re.sub(r"[^\w.+-]+", "_", name)


def person(path: Path) -> str:
    """Who is shown, as far as names tell."""
    if re.fullmatch(r"\d+", path.stem):  # LRS3 numbers the clips of a person
        return clean(path.parent.name)
    return clean(re.sub(r"[_-]?\d+$", "", path.stem) or path.stem)
