"""Progress on standard error: stages, parts done, remaining time; and what each stage took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from moditalker.memory import peak_memory, restart_peak

REDRAW = 0.2  # seconds between two states of the live line


class Progress:
    """Shows one stage after the other and keeps their times and peaks of memory.

    On a terminal one line is rewritten; elsewhere each stage leaves a line when it is done.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.quiet, self.live = quiet, self.stream.isatty()
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, float] = {}
        self.name, self.begun, self.shown = "", 0.0, 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """A stage; stages of one name add up."""
        self.name, self.begun, self.shown = name, time.monotonic(), 0.0
        restart_peak()
        self.show("")
        try:
            yield self
        except BaseException:
            self.write("", end="")
            raise
        passed = time.monotonic() - self.begun
        self.add(name, passed)
        self.memory[name] = max(self.memory.get(name, 0.0), peak_memory())
        self.write(f"{name}: {passed:.1f} s", end="\n")

    def add(self, name: str, seconds: float) -> None:
        """Count seconds towards a stage."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part of the shown stage: it counts as `stage/name`."""
        begun = time.monotonic()
        yield
        self.add(f"{self.name}/{name}", time.monotonic() - begun)

    def update(self, done: int, total: int) -> None:
        """`done` of `total` parts of the stage."""
        now = time.monotonic()
        if not done or now - self.shown < REDRAW:
            return
        self.shown = now
        left = timedelta(seconds=round((now - self.begun) * (total - done) / done))
        self.show(f"{100 * done // max(total, 1)} %, {left} left")

    def show(self, text: str) -> None:
        """The live line, where there is one."""
        if self.live:
            self.write(f"{self.name} {text}", end="")

    def write(self, text: str, end: str) -> None:
        """Write, over the live line where there is one."""
        if not self.quiet:
            self.stream.write((f"\r\033[K{text}" if self.live else text) + end)
            self.stream.flush()

    def note(self, text: str) -> None:
        """A line that stays, for what the user should know."""
        self.write(f"{text}", end="\n")
