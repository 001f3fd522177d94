"""Write beside, then rename: a result exists whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moditalker.errors import OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be too large for this file system",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENAMETOOLONG: "the file name is too long",
}


def check_output(path: str | Path) -> Path:
    """Return `path` if a file can be written there; ask before the work, not after it.

    Raises:
        OutputError: it is a folder, or its folder is missing or not writable.
    """
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder. Name a file.")
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {folder}. Make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: permission denied in {folder}.")
    return path


@contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; it becomes `path` when the block ends well.

    On any exception what was written is removed and an earlier `path` stays as it was.

    Raises:
        OutputError: the place cannot be written to, or the disk is full.
    """
    path = check_output(path)
    part = part_path(path)
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        _remove(part)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or _concerns(error, part):
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            raise OutputError(f"cannot write {path}: {reason}. Nothing was kept.") from error
        raise
    except BaseException:
        _remove(part)
        raise


def part_path(path: Path) -> Path:
    """The name under which `path` is written until it is whole."""
    return path.with_name(f".{path.name}.part")


def _concerns(error: OSError, part: Path) -> bool:
    """Whether the error is about the output: reading an input may fail inside the block too."""
    return str(error.filename or "").removeprefix("file:") == str(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        # The error that led here says more than one about the leftover.
        return
