"""What a video holds: size, rotation, and the time of every frame.

The whole file is demuxed (not decoded) once, since only the packets know the exact number of
frames and their times; headers are estimates, and wrong for variable frame rates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from moditalker.errors import MediaError, ReferenceVideoError
from moditalker.media.opening import decode, describe, open_input
from moditalker.media.pixels import Geometry
from moditalker.media.rates import common_rate
from moditalker.media.still import IMAGE_RATE, open_image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# A file that lacks more of its frames (or of its sound) than this is called damaged.
MISSING_LIMIT = 0.1


@dataclass(frozen=True)
class VideoInfo:
    """A video or an image.

    Attributes:
        path: the file.
        width: of the upright frame, in square pixels.
        height: of the upright frame.
        rotation: degrees counter-clockwise that made it upright: 0, 90, 180 or 270.
        frame_count: T.
        rate: frames per second; the average where `variable`.
        duration: seconds, from the start of the first frame to the end of the last.
        has_audio: whether there is an audio track.
        times: `(T,)` float64, seconds; the first is 0.
        variable: whether the frames last differently long.
        start: seconds of the first frame on the file's own clock, to which its audio refers.
        is_image: a still, so `rate` and `duration` are only nominal.
    """

    path: Path
    width: int
    height: int
    rotation: int
    frame_count: int
    rate: Fraction
    duration: float
    has_audio: bool
    times: np.ndarray = field(repr=False)
    variable: bool
    start: float = 0.0
    is_image: bool = False

    @property
    def last_duration(self) -> float:
        """Seconds for which the last frame is shown."""
        return float(self.duration - self.times[-1])

    def require_moving(self) -> None:
        """Raise `ReferenceVideoError` for a video (not an image) of a single frame."""
        if self.frame_count < 2 and not self.is_image:
            raise ReferenceVideoError(
                f"{self.path} has 1 frame. A reference video needs at least 2; "
                "give a still as an image (--image)."
            )


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a stream in the order in which they are shown.

    Attributes:
        stamps: `(T,)` int64, presentation times in units of `time_base`.
        keys: `(T,)` bool, frames at which decoding can start.
        time_base: seconds per unit.
        last: the last frame's duration in the same units.
    """

    stamps: np.ndarray
    keys: np.ndarray
    time_base: Fraction
    last: int

    @property
    def times(self) -> np.ndarray:
        """`(T,)` seconds from the first frame."""
        return (self.stamps - self.stamps[0]) * float(self.time_base)


def probe(path: str | Path, *, tolerant: bool = False) -> VideoInfo:
    """Look at a video or an image.

    Args:
        path: the file.
        tolerant: accept a damaged file for the frames that it still has.

    Raises:
        MediaError: missing, damaged, or more than a tenth of the frames are gone.
        ReferenceVideoError: there is no video track.
    """
    image = open_image(path)
    if image is not None:
        height, width = image.shape[:2]
        return image_info(Path(path), width, height)
    with open_input(path) as container:
        return read_info(Path(path), container, index_frames(path, container, tolerant))


def video_stream(path: str | Path, container: InputContainer) -> VideoStream:
    """The video track, cover pictures of music files aside."""
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover:
            return stream
    raise ReferenceVideoError(f"{path} has no video track. Give a video or an image.")


def index_frames(path: str | Path, container: InputContainer, tolerant: bool = False) -> VideoIndex:
    """Demux the video track once. Errors as in `probe`."""
    stream = video_stream(path, container)
    stream.thread_type = "AUTO"
    rows, packets = _demux(path, container, stream)
    if not tolerant and packets < (1 - MISSING_LIMIT) * stream.frames:
        raise MediaError(
            f"{path} is damaged: {packets} of its {stream.frames} frames can be read. "
            "Copy or download it again."
        )
    if not rows:
        raise MediaError(f"{path} is damaged or has no timestamps: no frame can be read.")
    stamps, first = np.unique([row[0] for row in rows], return_index=True)
    keys = np.array([rows[i][1] for i in first])
    base = stream.time_base or Fraction(1, 90000)
    return VideoIndex(stamps, keys, base, _last_duration(stamps, rows[first[-1]][2], stream))


def _demux(
    path: str | Path, container: InputContainer, stream: VideoStream
) -> tuple[list[tuple[int, bool, int]], int]:
    """(time, is key frame, duration) of each packet that is shown, in the order of decoding.

    The second value counts all packets: an edit list may hide some.
    """
    rows: list[tuple[int, bool, int]] = []
    packets = 0
    try:
        for packet in container.demux(stream):
            packets += packet.size > 0
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.size and not packet.is_discard:
                rows.append((stamp, packet.is_keyframe, packet.duration or 0))
    except av.error.FFmpegError as error:
        if not rows:
            raise MediaError(f"{path} is damaged ({describe(error)}).") from error
    return rows, packets


def _last_duration(stamps: np.ndarray, announced: int, stream: VideoStream) -> int:
    """The announced duration if it is plausible: beside B-frames it is one in decoding order."""
    steps = np.diff(stamps)
    if announced > 0 and (len(steps) == 0 or announced <= steps.max()):
        return int(announced)
    if len(steps):
        return int(np.median(steps))
    rate = stream.average_rate or IMAGE_RATE
    return max(1, round(1 / (rate * (stream.time_base or Fraction(1, 90000)))))


def read_info(path: Path, container: InputContainer, index: VideoIndex) -> VideoInfo:
    """Describe an indexed video; decodes its first frame for size and rotation."""
    stream = video_stream(path, container)
    geometry = Geometry.of(_first_frame(path, container, stream), stream.sample_aspect_ratio)
    times = index.times
    duration = float(times[-1] + index.last * index.time_base)
    return VideoInfo(
        path=path,
        width=geometry.size[0],
        height=geometry.size[1],
        rotation=geometry.rotation,
        frame_count=len(times),
        rate=_rate(times, duration),
        duration=duration,
        has_audio=len(container.streams.audio) > 0,
        times=times,
        variable=_is_variable(times),
        start=float(index.stamps[0] * index.time_base),
    )


def _first_frame(path: Path, container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    container.seek(0)
    try:
        for frame in decode(container, stream):
            return frame
    except av.error.FFmpegError as error:
        raise MediaError(f"{path} cannot be decoded ({describe(error)}).") from error
    raise MediaError(f"{path} is damaged: no frame can be decoded.")


def _rate(times: np.ndarray, duration: float) -> Fraction:
    """The constant rate, else frames over seconds."""
    constant = common_rate(times) if len(times) > 1 else None
    return constant or Fraction(len(times) / duration).limit_denominator(1001)


def _is_variable(times: np.ndarray) -> bool:
    """Whether intervals differ by more than the rounding of a millisecond clock explains."""
    if len(times) < 3:
        return False
    steps = np.diff(times)
    return bool(np.ptp(steps) > 0.25 * np.median(steps))


def image_info(path: Path, width: int, height: int) -> VideoInfo:
    seconds = float(1 / IMAGE_RATE)
    return VideoInfo(
        path, width, height, 0, 1, IMAGE_RATE, seconds, False, np.zeros(1), False, is_image=True
    )
