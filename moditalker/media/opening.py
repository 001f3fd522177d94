"""Open a file with PyAV, and turn the library's errors into one line for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av

from moditalker.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def check_readable(path: str | Path) -> Path:
    """Return `path`, or raise `MediaError` where it is missing, a folder or empty."""
    path = Path(path)
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder. Give a file.")
        size = path.stat().st_size
    except FileNotFoundError:
        raise MediaError(f"{path} does not exist. Check the path.") from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}.") from error
    if size == 0:
        raise MediaError(f"{path} is empty (0 bytes).")
    return path


def url(path: str | Path) -> str:
    """A name that FFmpeg takes for a local file, even where it contains a colon or a percent."""
    return f"file:{path}"


@contextmanager
def open_input(path: str | Path, options: dict[str, str] | None = None) -> Iterator[InputContainer]:
    """Open a media file for reading, with options for FFmpeg's demuxer.

    Raises:
        MediaError: the file is missing, not media, damaged, or not permitted.
    """
    path = check_readable(path)
    try:
        container = av.open(url(path), "r", options=options)
    except av.error.PermissionError as error:
        raise MediaError(f"{path} cannot be read: permission denied.") from error
    except (av.error.FFmpegError, UnicodeError) as error:
        raise MediaError(
            f"{path} is no audio or video file that can be read, or it is damaged "
            f"({describe(error)}). Try to play it, or convert it to mp4 or wav."
        ) from error
    with container:
        yield container


def describe(error: BaseException) -> str:
    """The library's own words for an error, short and in lower case."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).strip().rstrip(".").lower()


def decode(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode a video track from where the container stands; damaged packets are skipped."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue
