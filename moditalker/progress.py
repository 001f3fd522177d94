"""Progress on standard error: stages, parts done, remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO


class Progress:
    """Shows one stage after the other and keeps their times.

    On a terminal one line is rewritten; elsewhere each stage leaves a line when it is done.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.quiet, self.live = quiet, self.stream.isatty()
        self.seconds: dict[str, float] = {}
        self.name, self.begun, self.shown = "", 0.0, 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """A stage; stages of one name add up."""
        self.name, self.begun, self.shown = name, time.monotonic(), 0.0
        self.show("")
        yield self
        passed = time.monotonic() - self.begun
        self.add(name, passed)
        self.line(f"{name}: {passed:.1f} s", end="\n")

    def add(self, name: str, seconds: float) -> None:
        """Count seconds towards a stage that runs inside another."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a stage that runs inside the shown one."""
        begun = time.monotonic()
        yield
        self.add(name, time.monotonic() - begun)

    def update(self, done: int, total: int) -> None:
        """`done` of `total` parts of the stage."""
        passed = time.monotonic() - self.begun
        if not done or time.monotonic() - self.shown < 0.2:
            return
        self.shown = time.monotonic()
        left = timedelta(seconds=round(passed * (total - done) / done))
        self.show(f"{100 * done // max(total, 1)} %, {left} left")

    def show(self, text: str) -> None:
        """The live line, where there is one."""
        if self.live:
            self.line(f"{self.name} {text}", end="")

    def line(self, text: str, end: str) -> None:
        """Write over the live line."""
        if not self.quiet:
            self.stream.write((f"\r\033[K{text}" if self.live else text) + end)
            self.stream.flush()
