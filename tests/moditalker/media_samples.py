"""Small media files that the tests of moditalker.media make for themselves."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 64, 48


def numbered(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    """Frames whose number can be read from their brightness; the upper left corner is red."""
    images = []
    for number in range(count):
        image = np.full((height, width, 3), 20 + 7 * (number % 30), np.uint8)
        image[: height // 3, : width // 3] = (230, 20, 20)
        images.append(image)
    return images


def number_of(image: np.ndarray) -> int:
    """The number of a frame of `numbered`, modulo 30."""
    height, width = image.shape[:2]
    middle = image[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]
    return round((float(middle.mean()) - 20) / 7)


def make_video(
    path: Path,
    stamps: Sequence[int],
    base: Fraction,
    *,
    codec: str = "libx264",
    rotation: int = 0,
    flip: bool = False,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """A video of numbered frames at exact times, made with PyAV alone."""
    with av.open(str(path), "w", options=container or {}) as output:
        settings = options or {"crf": "5", "preset": "ultrafast", "bf": "2"}
        stream: Any = output.add_stream(codec, rate=Fraction(30), options=settings)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = stream.time_base = base
        if rotation or flip:
            stream.set_display_rotation(rotation, hflip=flip)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for stamp, image in zip(stamps, numbered(len(stamps)), strict=True):
            frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")
            frame.pts, frame.time_base = stamp, base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """`(N, C)` float32: a click at the first sample, then a tone of 220 Hz (330 Hz, ...)."""
    time = np.arange(round(seconds * rate)) / rate
    pitches = 220 + 110 * np.arange(channels)
    samples = 0.3 * np.sin(2 * np.pi * time[:, None] * pitches) * np.minimum(1, 5 * time)[:, None]
    return samples.astype(np.float32)


CODECS = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".ogg": "libopus"}


def make_sound(path: Path, samples: np.ndarray, rate: int, codec: str | None = None) -> Path:
    """A sound file; the codec follows from the ending."""
    codec = codec or CODECS.get(path.suffix, "aac")
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.format, layout, rate)
        for piece in resampler.resample(frame):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return path
