"""Make the embedded example: a reference video from a still, and a sentence.

    python tools/make_example.py astronaut.png LJ001-0004.flac

The portrait is scikit-image's `astronaut.png` (NASA, public domain); it is shown through a camera that
moves slowly over the still, so that the reference has motion but no one speaks. The sentence comes
from LJ Speech (public domain). Needs soundfile for the sentence.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from moditalker.media import read_audio, write_video

OUT = Path(__file__).parent.parent / "moditalker" / "assets" / "example"
SIZE, SECONDS, RATE = 384, 3.0, 25


def camera(image: Image.Image) -> list[np.ndarray]:
    """Frames of a slow sway over the portrait."""
    frames = []
    for phase in np.linspace(0, 2 * np.pi, round(SECONDS * RATE), endpoint=False):
        side = 280 - 8 * np.cos(phase)
        x, y = 224 + 5 * np.sin(phase), 152 + 3 * np.sin(2 * phase)
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        resized = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box)
        frames.append(np.asarray(resized))
    return frames


def main(portrait: str, sentence: str) -> None:
    """Write both files."""
    import soundfile

    OUT.mkdir(parents=True, exist_ok=True)
    frames = camera(Image.open(portrait).convert("RGB"))
    times = np.arange(len(frames)) / RATE
    write_video(OUT / "astronaut.mp4", frames, times, crf=20)
    sound = read_audio(sentence, rate=None)
    soundfile.write(OUT / "sentence.flac", sound.samples, sound.rate)


if __name__ == "__main__":
    main(*sys.argv[1:])
