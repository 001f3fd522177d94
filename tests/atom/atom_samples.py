"""A data set folder as `moditalker prepare` makes it, of faces whose mouths open with a feature."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from moditalker.landmarks import MOUTH, mean_face

DIM = 8


def write_clip(folder: Path, name: str, frames: int, seed: int) -> None:
    """Feature 0 at 50 Hz opens the mouth downwards; the others are noise."""
    random = np.random.default_rng(seed)
    slow = np.convolve(random.standard_normal(2 * frames + 8), np.ones(9) / 3, mode="valid")
    speech = random.standard_normal((2 * frames, DIM))
    speech[:, 0] = slow
    frontal = np.repeat(mean_face()[None], frames, axis=0)
    frontal[:, :, 0] *= 1 + 0.05 * random.standard_normal()
    frontal[:, 55:60, 1] -= 0.05 + 0.04 * slow[::2, None]
    frontal[:, 65:68, 1] -= 0.05 + 0.04 * slow[::2, None]
    clip = folder / "clips" / name
    clip.mkdir(parents=True)
    np.savez(clip / "motion.npz", frontal=frontal.astype(np.float32))
    np.save(clip / "speech-test.npy", speech.astype(np.float16))


def write_data_set(folder: Path, clips: dict[str, int]) -> Path:
    """Clips of so many frames; the person is the name up to the first dash."""
    lines = []
    for seed, (name, frames) in enumerate(clips.items()):
        write_clip(folder, name, frames, seed)
        entry = {"id": name, "status": "kept", "frames": frames, "person": name.split("-")[0]}
        lines.append(json.dumps(entry))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def opening(landmarks: np.ndarray) -> np.ndarray:
    """How far the lower lip of (T, 68, 3) hangs."""
    return -landmarks[:, MOUTH, 1].mean(axis=1)
