"""Runs a `.tflite` network on one CPU core through LiteRT, Google's maintained runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class Network:
    """A network of one input. The file is opened on the first call: building one costs nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.interpreter: Any = None

    def __call__(self, array: np.ndarray) -> list[np.ndarray]:
        """Outputs, in the file's order, for one float32 input of the file's shape."""
        interpreter = self.opened()
        interpreter.set_tensor(self.input, np.ascontiguousarray(array, np.float32))
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self.outputs]

    def opened(self) -> Any:
        """The interpreter, made on the first call."""
        if self.interpreter is None:
            from ai_edge_litert.interpreter import Interpreter

            with quiet():
                interpreter = Interpreter(str(self.path), num_threads=1)
                interpreter.allocate_tensors()
            self.input = interpreter.get_input_details()[0]["index"]
            self.outputs = [detail["index"] for detail in interpreter.get_output_details()]
            self.interpreter = interpreter
        return self.interpreter


@contextmanager
def quiet() -> Iterator[None]:
    """Keep native code off stderr: LiteRT announces its CPU delegate, and has no switch."""
    try:
        stderr = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(sink)
