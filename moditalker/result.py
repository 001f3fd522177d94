"""What a run made, and what it took."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from moditalker import __version__


@dataclass(frozen=True)
class Result:
    """The account of a run."""

    out: Path
    "The file that was written."
    frames: int
    "Number of frames in it."
    seconds: float
    "Its duration: that of the sound."
    size: tuple[int, int] | None
    "Width and height in pixels, where it is a video."
    preset: str
    "Preset of the networks."
    seed: int
    "Gives the same result again on the same machine."
    stages: dict[str, float] = field(default_factory=dict)
    "Seconds spent in each stage; `stage/part` counts within its stage."
    memory_mib: dict[str, float] = field(default_factory=dict)
    "Peak of resident memory in each stage."
    gpu_memory_mib: float | None = None
    "Peak on a CUDA device."

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds

    @property
    def peak_memory_mib(self) -> float:
        """Peak of resident memory over all stages."""
        return max(self.memory_mib.values(), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "out": str(self.out),
            "fps": round(self.fps, 4),
            "stages": {name: round(seconds, 3) for name, seconds in self.stages.items()},
            "memory_mib": {name: round(mib, 1) for name, mib in self.memory_mib.items()},
            "peak_memory_mib": round(self.peak_memory_mib, 1),
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    import torch

    return {"moditalker": __version__, "torch": torch.__version__,
            "python": platform.python_version()}  # fmt: skip
