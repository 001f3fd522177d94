"""The progress display, and what it remembers."""

from __future__ import annotations

import io
import sys
import time

import numpy as np
import pytest

from moditalker.memory import peak_memory, restart_peak
from moditalker.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_one_line_a_stage() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for name in ("faces", "video"):
        with progress.stage(name):
            for done in range(5):
                progress.update(done + 1, 5)
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == ["faces", "video"]


def test_a_terminal_sees_the_part_done_and_the_time_left() -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    with progress.stage("video"):
        progress.begun -= 30
        progress.update(1, 4)
    assert "video 25 %, 0:01:30 left" in stream.getvalue()


def test_quiet_is_silent_and_still_keeps_times() -> None:
    stream = Terminal()
    progress = Progress(quiet=True, stream=stream)
    with progress.stage("video"), progress.part("decode"):
        time.sleep(0.01)
    assert stream.getvalue() == ""
    assert progress.seconds["video"] >= progress.seconds["video/decode"] >= 0.01


def test_an_error_leaves_no_half_line_before_its_message() -> None:
    stream = Terminal()
    with pytest.raises(ValueError, match="no"), Progress(stream=stream).stage("faces"):
        raise ValueError("no")
    assert stream.getvalue().endswith("\r\033[K")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux restarts the peak")
def test_each_stage_has_a_peak_of_its_own() -> None:
    restart_peak()
    before = peak_memory()
    block = np.ones(2**26, np.uint8)
    assert peak_memory() > before + 50
    del block
    restart_peak()
    assert peak_memory() < before + 50
