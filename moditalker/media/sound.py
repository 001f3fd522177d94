"""The sound of a video that is being written: copied where it is AAC, else encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from moditalker.errors import AudioError
from moditalker.media.audio import Audio, SoundSource, audio_stream, resampled
from moditalker.media.opening import open_input

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
_BIT_RATE = 192_000
_BIT_RATE_PER_CHANNEL = 96_000
# An AAC frame of 1024 samples holds at most 6144 bits a channel (ISO/IEC 14496-3).
_MOST_BITS_PER_SAMPLE = 6
_BLOCK = 16384
# A length that was measured after resampling, at 8 kHz at the least, is up to a sample short.
_ROUNDING_SECONDS = 1 / 8000


class Sound:
    """Packets of sound that are muxed up to the time that the pictures have reached.

    Make it after the video stream and before the first packet; its first sample is heard with the
    first frame. `close` (or `with`) closes the source.

    Args:
        output: the container to write to.
        audio: a file whose sound is copied (AAC) or encoded, or samples.
        seconds: cut off what is more than a rounding later; None keeps all.

    Raises:
        MediaError, AudioError: as `read_audio`.
    """

    def __init__(
        self, output: OutputContainer, audio: str | Path | Audio, seconds: float | None = None
    ) -> None:
        self._output = output
        if seconds is not None:
            seconds += _ROUNDING_SECONDS
        with ExitStack() as stack:
            if isinstance(audio, Audio):
                self._packets = _encoded_samples(output, audio, seconds)
            else:
                self._packets = _from_file(output, audio, seconds, stack)
            self._closing = stack.pop_all()
        self._next = next(self._packets, None)

    def advance(self, seconds: float) -> None:
        """Mux every packet that begins at or before `seconds`."""
        while self._next is not None and _time(self._next) <= seconds:
            self._output.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._closing.close()


def _time(packet: Packet) -> float:
    return float((packet.pts or 0) * packet.time_base)


def _from_file(
    output: OutputContainer, path: str | Path, seconds: float | None, stack: ExitStack
) -> Iterator[Packet]:
    container = stack.enter_context(open_input(path))
    stream = audio_stream(path, container)
    if stream.codec_context.name == "aac":
        target = output.add_stream_from_template(stream)
        return _copied(stream, target, _first_stamp(path), seconds)
    source = SoundSource(path, container)
    layout = source.layout if source.layout in _AAC_LAYOUTS else "stereo"
    return _encoded(output, lambda: source.blocks(layout=layout), source.rate, layout, seconds)


def _first_stamp(path: str | Path) -> int:
    """When the first audible sample comes, on the stream's clock.

    It is decoded, since only the decoder knows how much of the encoder's run-in it leaves out.
    """
    with open_input(path) as container:
        stream = audio_stream(path, container)
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                return int(frame.pts or 0)
    raise AudioError(f"{path} has an audio track without sound.")


def _copied(
    stream: AudioStream, target: AudioStream, start: int, seconds: float | None
) -> Iterator[Packet]:
    """The packets of a stream, unchanged, so that the sample at `start` is heard at 0."""
    for packet in stream.container.demux(stream):  # type: ignore[attr-defined]
        if packet.pts is None or not packet.size:
            continue
        packet.pts -= start
        packet.dts = packet.pts
        if seconds is not None and _time(packet) >= seconds:
            return
        packet.stream = target
        yield packet


def _encoded_samples(
    output: OutputContainer, audio: Audio, seconds: float | None
) -> Iterator[Packet]:
    samples = np.atleast_2d(audio.samples.T).T.astype(np.float32, copy=False)
    layout = "mono" if audio.channels == 1 else "stereo"
    if samples.shape[1] > 2:
        raise AudioError(f"{samples.shape[1]} channels of samples cannot be written. Give 1 or 2.")
    starts = range(0, len(samples), _BLOCK)
    return _encoded(
        output, lambda: (samples[i : i + _BLOCK] for i in starts), audio.rate, layout, seconds
    )


def _encoded(
    output: OutputContainer,
    blocks: Callable[[], Iterator[np.ndarray]],
    rate: int,
    layout: str,
    seconds: float | None,
) -> Iterator[Packet]:
    """Add an AAC stream and return the packets of `(n, C)` blocks of sound."""
    target = min(AAC_RATES, key=lambda known: abs(known - rate))
    stream = output.add_stream("aac", rate=target, layout=layout)
    channels = stream.codec_context.layout.nb_channels
    wanted = max(_BIT_RATE, _BIT_RATE_PER_CHANNEL * channels)
    stream.bit_rate = min(wanted, _MOST_BITS_PER_SAMPLE * target * channels)
    cut = _cut(resampled(blocks(), rate, target), None if seconds is None else seconds * target)
    return _encode(stream, cut)


def _cut(blocks: Iterator[np.ndarray], samples: float | None) -> Iterator[np.ndarray]:
    """The first `samples` of a run of blocks."""
    left = float("inf") if samples is None else round(samples)
    for block in blocks:
        if left <= 0:
            return
        yield block[: int(min(left, len(block)))]
        left -= len(block)


def _encode(stream: AudioStream, blocks: Iterator[np.ndarray]) -> Iterator[Packet]:
    rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout.name
    position = 0
    for block in blocks:
        if not len(block):
            continue
        plane = np.ascontiguousarray(block.T)
        frame = av.AudioFrame.from_ndarray(plane, format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = position
        position += len(block)
        yield from stream.encode(frame)
    yield from stream.encode(None)
