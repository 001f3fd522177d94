"""Where networks run."""

from __future__ import annotations

import torch

from moditalker.errors import SettingsError


def choose_device(name: str = "auto") -> torch.device:
    """`auto`, `cuda`, `mps` or `cpu`. Raises SettingsError where the machine lacks it."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if name not in available:
        raise SettingsError(f"--device is '{name}'. Take auto, cuda, mps or cpu.")
    if not available[name]:
        raise SettingsError(f"this machine has no {name} for torch. Take --device auto.")
    return torch.device(name)


def gpu_memory(device: torch.device) -> float | None:
    """Peak memory of a CUDA device in MiB."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
