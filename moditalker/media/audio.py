"""Read the sound of any container that FFmpeg knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import soxr

from moditalker.errors import AudioError
from moditalker.media.opening import describe, open_input

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# Shorter than two syllables, and than the context that the speech encoders need.
SHORTEST_SECONDS = 0.2
# Peaks below -60 dBFS: nothing that could drive a mouth.
SILENCE_PEAK = 1e-3
# A file that lacks more of its announced sound than this is called damaged.
MISSING_LIMIT = 0.1
# Holes in the timestamps from here on are filled with silence; smaller ones are clock jitter.
_HOLE_SECONDS = 0.05
# Containers whose announced duration is exact (an mp3 without a header is only estimated).
_EXACT = ("mov", "wav", "flac", "aiff")
_HEAD_BYTES = 65536
# Sizes in wav headers from here on mean that the writer did not know.
_STREAMED = 0x7FFF0000
# Two frames of AAC, of 1024 samples each.
_MOST_PADDING = 2048


@dataclass(frozen=True)
class Audio:
    """Sound in memory.

    Attributes:
        samples: `(N,)` mono or `(N, C)` float32, nominally in [-1, 1].
        rate: samples per second.
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return 1 if self.samples.ndim == 1 else int(self.samples.shape[1])


def read_audio(
    path: str | Path,
    rate: int | None = 16000,
    mono: bool = True,
    *,
    start: float | None = None,
    check: bool = True,
) -> Audio:
    """Read a sound file, or the sound of a video.

    Args:
        path: mp3, m4a, wav, flac, ogg, mp4, ... .
        rate: samples per second to resample to; None keeps the file's own.
        mono: mix to one channel: the mean of the front channels.
        start: seconds on the file's own clock at which the samples shall begin (`VideoInfo.start`,
            to be in step with its frames); None begins with the first sample that there is.
        check: refuse sound that is too short or silent.

    Raises:
        MediaError: missing file, or no media.
        AudioError: no audio track, damaged, and with `check` too short (0.2 s) or silent.
    """
    with open_input(path) as container:
        source = SoundSource(path, container)
        blocks = list(resampled(source.blocks(mono), source.rate, rate or source.rate))
        first = source.start
    if not blocks:
        raise AudioError(f"{path} has an audio track without sound.")
    samples = np.concatenate(blocks)
    audio = Audio(samples[:, 0] if mono else samples, rate or source.rate)
    if start is not None:
        audio = _begin_at(audio, first - start)
    if check:
        check_audio(path, audio)
    return audio


def check_audio(path: str | Path, audio: Audio) -> None:
    """Raise `AudioError` where sound is too short or silent to drive a face."""
    if audio.seconds < SHORTEST_SECONDS:
        raise AudioError(
            f"{path} is {audio.seconds:.2f} s long. Give at least {SHORTEST_SECONDS} s of speech."
        )
    peak = float(np.abs(audio.samples).max())
    if not peak >= SILENCE_PEAK:
        raise AudioError(f"{path} is silent (peak {peak:.1g} of 1). Give a recording of speech.")


def _begin_at(audio: Audio, offset: float) -> Audio:
    """Shift by seconds: silence before the sound, or its head cut off where negative."""
    count = round(offset * audio.rate)
    if count <= 0:
        return Audio(audio.samples[-count:], audio.rate)
    pad = np.zeros((count, *audio.samples.shape[1:]), np.float32)
    return Audio(np.concatenate([pad, audio.samples]), audio.rate)


def resampled(blocks: Iterator[np.ndarray], source: int, target: int) -> Iterator[np.ndarray]:
    """Resample `(n, C)` blocks as one stream."""
    if source == target:
        yield from blocks
        return
    stream: soxr.ResampleStream | None = None
    for block in blocks:
        if stream is None:
            stream = soxr.ResampleStream(source, target, block.shape[1], dtype="float32")
            empty = block[:0]
        yield stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(empty, last=True)


def _without_padding(blocks: Iterator[np.ndarray], limit: int) -> Iterator[np.ndarray]:
    """Drop what an encoder added to fill its last frame: a little beyond the announced end."""
    seen = 0
    beyond: list[np.ndarray] = []
    for block in blocks:
        keep = min(max(limit - seen, 0), len(block))
        seen += len(block)
        if keep:
            yield block[:keep]
        if keep < len(block):
            beyond.append(block[keep:])
    if seen - limit > _MOST_PADDING:
        yield from beyond


class SoundSource:
    """The audio track of an open file, decoded piece by piece.

    Raises:
        AudioError: there is no audio track.
    """

    def __init__(self, path: str | Path, container: InputContainer) -> None:
        self._path = path
        self._container = container
        self.stream = audio_stream(path, container)
        self.start = 0.0
        self._bad = self._packets = 0
        self._written = 0
        self._channels = 0

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.stream.codec_context.sample_rate

    @property
    def layout(self) -> str:
        """The channel layout's name, such as `stereo`; files may give a mere number."""
        layout = self.stream.codec_context.layout
        return {1: "mono", 2: "stereo"}.get(layout.nb_channels, layout.name)

    def blocks(self, mono: bool = False, layout: str | None = None) -> Iterator[np.ndarray]:
        """Yield `(n, C)` float32 blocks; holes in the timestamps are filled with silence.

        Args:
            mono: the mean of the front channels.
            layout: mix to this channel layout; None keeps the file's own.

        Raises:
            AudioError: too much of the sound is damaged or missing.
        """
        announced = self._announced()
        blocks = self._blocks(mono, layout)
        if announced is not None:
            blocks = _without_padding(blocks, round(announced * self.rate))
        yield from blocks
        self._check_whole(announced)

    def _blocks(self, mono: bool, layout: str | None) -> Iterator[np.ndarray]:
        target = layout or self.stream.codec_context.layout
        resampler = av.AudioResampler(format="fltp", layout=target, rate=self.rate)
        front = _front_channels(self.stream)
        for frame in self._frames():
            for piece in resampler.resample(frame):
                block = piece.to_ndarray().T
                block = np.ascontiguousarray(
                    block[:, front].mean(1, keepdims=True) if mono else block
                )
                hole = self._hole(frame)
                if hole:
                    yield np.zeros((hole, block.shape[1]), np.float32)
                self._written += hole + len(block)
                yield block

    def _frames(self) -> Iterator[AudioFrame]:
        """Decoded frames; damaged packets are counted and skipped."""
        try:
            for packet in self._container.demux(self.stream):
                self._packets += packet.size > 0
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    self._bad += 1
        except av.error.FFmpegError as error:
            raise AudioError(f"{self._path} cannot be decoded ({describe(error)}).") from error

    def _hole(self, frame: AudioFrame) -> int:
        """How many samples are missing before this frame."""
        if frame.time is None:
            return 0
        if self._written == 0:
            self.start = frame.time
            return 0
        hole = round((frame.time - self.start) * self.rate) - self._written
        return hole if hole > _HOLE_SECONDS * self.rate else 0

    def _check_whole(self, announced: float | None) -> None:
        if self._packets and self._bad > MISSING_LIMIT * self._packets:
            raise AudioError(
                f"{self._path} is damaged: {self._bad} of {self._packets} packets of its sound "
                "cannot be decoded. Copy or download it again."
            )
        seconds = self._written / self.rate
        if announced and seconds < (1 - MISSING_LIMIT) * announced - 0.1:
            raise AudioError(
                f"{self._path} is damaged: {seconds:.1f} of its {announced:.1f} s of sound can "
                "be read. Copy or download it again."
            )

    def _announced(self) -> float | None:
        """Seconds that the file says it holds; None where that is an estimate."""
        if "DURATION" in self.stream.metadata:
            return _clock_seconds(self.stream.metadata["DURATION"])
        if self.stream.duration is None or not self.stream.time_base:
            return None
        name = self._container.format.name
        exact = name.startswith(_EXACT) or (name == "mp3" and _has_length_header(self._path))
        seconds = float(self.stream.duration * self.stream.time_base)
        if name == "wav":
            seconds *= _riff_share(self._path)
        return seconds if exact else None


def audio_stream(path: str | Path, container: InputContainer) -> AudioStream:
    """The audio track that a player would choose; `AudioError` where there is none."""
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        raise AudioError(f"{path} has no audio track. Give a file with sound.")
    if stream.codec_context is None or not stream.codec_context.sample_rate:
        raise AudioError(f"{path} has an audio track that cannot be decoded.")
    return stream


def _front_channels(stream: AudioStream) -> list[int]:
    """Channels that carry speech: left, right and centre where they are named, else all."""
    channels = stream.codec_context.layout.channels
    front = [i for i, channel in enumerate(channels) if channel.name in ("FL", "FR", "FC")]
    return front or list(range(len(channels)))


def _has_length_header(path: str | Path) -> bool:
    """Whether an mp3 names its length (Xing, Info or VBRI header)."""
    with Path(path).open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))


def _clock_seconds(text: str) -> float | None:
    """Matroska's `00:01:02.345` in seconds."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None


def _riff_share(path: str | Path) -> float:
    """How many times its own size a wav says it has: FFmpeg trusts the file's end instead."""
    with Path(path).open("rb") as file:
        head = file.read(8)
    announced = int.from_bytes(head[4:8], "little") + 8
    # What is written to a pipe announces nothing, or a largest number.
    known = head[:4] == b"RIFF" and announced < _STREAMED
    return max(1.0, announced / Path(path).stat().st_size) if known else 1.0
