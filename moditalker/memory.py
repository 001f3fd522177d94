"""The largest memory that this process has held."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

PROCESS = Path("/proc/self")


def restart_peak() -> None:
    """Count the peak from here on, where the system can (Linux); else it counts from the start."""
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")


def peak_memory() -> float:
    """The peak of resident memory in MiB; 0 where the system does not tell."""
    with suppress(OSError):
        line = re.search(r"VmHWM:\s*(\d+) kB", (PROCESS / "status").read_text())
        if line:
            return int(line[1]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
