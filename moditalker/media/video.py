"""Write the finished video: H.264 and AAC in an mp4 that plays everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from moditalker.errors import OutputError
from moditalker.media.audio import Audio
from moditalker.media.metadata import DIGITAL_SOURCE, append_digital_source, set_tags
from moditalker.media.opening import open_input, url
from moditalker.media.output import atomic_output
from moditalker.media.pixels import from_rgb
from moditalker.media.rates import JITTER_SECONDS, common_rate
from moditalker.media.sound import Sound

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

SUFFIXES = (".mp4", ".m4v")
# The clock of frames without a common rate; 1/90000 s is what broadcasting counts in.
_FINE = Fraction(1, 90000)
_KEY_SECONDS = 2
# The index in front, so that playing starts while loading; times finer than a millisecond.
_MUXER = {"movflags": "+faststart", "movie_timescale": "90000"}
_BT709 = 1
_LIMITED = 1


@dataclass(frozen=True)
class _Clock:
    """When frames are shown, in whole units of `base`; `last` is the last one's duration."""

    base: Fraction
    rate: Fraction
    stamps: Iterable[int]
    last: int
    constant: bool


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    times: Sequence[float] | np.ndarray | Fraction | float,
    *,
    audio: str | Path | Audio | None = None,
    audio_seconds: float | None = None,
    metadata: Mapping[str, str] | None = None,
    crf: float = 18,
    preset: str = "medium",
    last_duration: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write frames and sound to an mp4, beside `path` first, so that it is whole or not there.

    The colours are BT.709 `yuv420p`, which every player shows; it needs even sizes, so an odd
    width or height grows by one repeated column or row (255x333 becomes 256x334). Sound that is
    AAC is copied packet by packet; other sound is encoded once at its own rate and channels.

    Args:
        path: ends in .mp4 (or .m4v).
        frames: `(H, W, 3)` uint8 RGB images, all of one size; taken one at a time.
        times: frames per second (give a `Fraction` such as 24000/1001 to be exact), or `(T,)`
            seconds from 0, one for each frame, that increase; intervals may vary.
        audio: a file (its sound, whole), samples, or None.
        audio_seconds: cut the sound off here.
        metadata: tags, such as `SYNTHETIC_METADATA`.
        crf: H.264 quality: 18 looks like the source, 0 is the most.
        preset: x264's trade of time for size.
        last_duration: seconds for which the last frame stays, where `times` are given.
        progress: called with the number of frames written so far.

    Raises:
        OutputError: wrong suffix, folder missing, disk full.
        MediaError, AudioError: the audio file cannot be read.
        ValueError: no frame, or frames and times do not match.
    """
    metadata = metadata or {}
    if Path(path).suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path} must end in .mp4, since that is what is written.")
    clock = _clock(times, last_duration)
    with atomic_output(path) as part:
        with av.open(url(part), "w", format="mp4", options=_MUXER) as output:
            set_tags(output, metadata)
            written = _write(output, frames, clock, audio, audio_seconds, (crf, preset), progress)
        if DIGITAL_SOURCE in metadata:
            append_digital_source(part, metadata[DIGITAL_SOURCE])
        _verify(path, part, written)


def _write(
    output: OutputContainer,
    frames: Iterable[np.ndarray],
    clock: _Clock,
    audio: str | Path | Audio | None,
    audio_seconds: float | None,
    quality: tuple[float, str],
    progress: Callable[[int], None] | None,
) -> int:
    """Encode everything; returns the number of frames."""
    pictures = _Pictures(output, clock, quality)
    sound = None if audio is None else Sound(output, audio, audio_seconds)
    with nullcontext() if sound is None else closing(sound):
        for stamp, image in _paired(clock.stamps, frames):
            if sound is not None and pictures.count:
                sound.advance(float(stamp * clock.base))
            pictures.add(image, stamp)
            if progress is not None:
                progress(pictures.count)
        pictures.finish()
        if sound is not None:
            sound.advance(float("inf"))
    return pictures.count


def _paired(
    stamps: Iterable[int], frames: Iterable[np.ndarray]
) -> Iterator[tuple[int, np.ndarray]]:
    """Pair frames with their times; a list of times must be as long as the frames."""
    times = iter(stamps)
    number = -1
    for number, image in enumerate(frames):
        stamp = next(times, None)
        if stamp is None:
            raise ValueError(f"more frames than the {number} times")
        yield stamp, image
    if number < 0:
        raise ValueError("there is no frame to write")
    if not isinstance(stamps, count) and next(times, None) is not None:
        raise ValueError(f"only {number + 1} frames came, fewer than there are times")


class _Pictures:
    """The H.264 stream of an output."""

    def __init__(self, output: OutputContainer, clock: _Clock, quality: tuple[float, str]) -> None:
        self.count = 0
        self._output = output
        self._clock = clock
        self._ends: dict[int, int] = {}
        self._previous: int | None = None
        self._stream = _h264(output, clock, quality)

    def add(self, image: np.ndarray, stamp: int) -> None:
        """Encode an image that is shown from `stamp` on."""
        frame = from_rgb(image)
        if self.count == 0:
            self._stream.width, self._stream.height = frame.width, frame.height
        elif (frame.width, frame.height) != (self._stream.width, self._stream.height):
            raise ValueError(f"frame {self.count} has another size than the first")
        frame.pts, frame.time_base = stamp, self._clock.base
        if self._previous is not None:
            self._ends[self._previous] = stamp
        self._previous = stamp
        self.count += 1
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Encode what the encoder still holds back."""
        if self._previous is not None:
            self._ends[self._previous] = self._previous + self._clock.last
        self._mux(self._stream.encode(None))

    def _mux(self, packets: list[Packet]) -> None:
        """Mux packets with their true durations, of which the muxer keeps the last."""
        for packet in packets:
            end = self._ends.pop(packet.pts or 0, None)
            if end is not None:
                packet.duration = end - (packet.pts or 0)
            self._output.mux(packet)


def _h264(output: OutputContainer, clock: _Clock, quality: tuple[float, str]) -> VideoStream:
    crf, preset = quality
    options = {
        "crf": f"{crf:g}",
        "preset": preset,
        "g": str(max(1, round(_KEY_SECONDS * clock.rate))),
    }
    if not clock.constant:
        # An mp4 stores intervals in decoding order; without B-frames that is the order shown.
        options["bf"] = "0"
    stream = output.add_stream("libx264", rate=clock.rate, options=options)
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = clock.base
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED
    return stream


def _clock(times: Sequence[float] | np.ndarray | Fraction | float, last: float | None) -> _Clock:
    """Choose a clock that holds the times: a constant rate exactly, others to 1/90000 s."""
    if isinstance(times, (int, float, Fraction)):
        return _constant(Fraction(times).limit_denominator(1001), None)
    seconds = np.asarray(times, dtype=np.float64)
    steps = np.diff(seconds)
    if seconds.ndim != 1 or len(seconds) == 0 or not (steps > 0).all():
        raise ValueError("times must be a row of increasing seconds")
    rate = _common_rate(seconds, last)
    if rate is not None:
        return _constant(rate, len(seconds))
    return _variable(seconds, float(np.median(steps)) if last is None else last)


def _common_rate(seconds: np.ndarray, last: float | None) -> Fraction | None:
    """The constant rate of these times, if they have one."""
    if len(seconds) == 1:
        return Fraction(1 / (last or 0.04)).limit_denominator(1001)
    rate = common_rate(seconds)
    if rate is None or (last is not None and abs(last - 1 / rate) > 2 * JITTER_SECONDS):
        return None
    return rate


def _constant(rate: Fraction, length: int | None) -> _Clock:
    step = rate.denominator
    stamps: Iterable[int] = count(0, step) if length is None else range(0, length * step, step)
    return _Clock(Fraction(1, rate.numerator), rate, stamps, step, True)


def _variable(seconds: np.ndarray, last: float) -> _Clock:
    stamps = np.round((seconds - seconds[0]) / float(_FINE)).astype(np.int64)
    # Two frames nearer than one unit would fall together.
    stamps = np.maximum.accumulate(stamps - np.arange(len(stamps))) + np.arange(len(stamps))
    units = max(1, round(last / float(_FINE)))
    total = float((stamps[-1] + units) * _FINE)
    rate = Fraction(len(stamps) / total).limit_denominator(1001) or Fraction(1)
    return _Clock(_FINE, rate, stamps.tolist(), units, False)


def _verify(path: str | Path, part: Path, written: int) -> None:
    """Open the result once: a disk that lost something must not give a finished file."""
    with open_input(part) as container:
        stored = container.streams.video[0].frames
    if stored != written:
        raise OutputError(f"{path} could not be written whole: {stored} of {written} frames.")
