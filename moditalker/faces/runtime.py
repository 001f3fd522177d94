"""Runs a `.tflite` network on one CPU core through LiteRT, Google's maintained runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Network:
    """A network of one input; call it with the input array to get its outputs in file order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._interpreter: Any = None

    def __call__(self, array: np.ndarray) -> list[np.ndarray]:
        interpreter = self._load()
        interpreter.set_tensor(self._input, np.ascontiguousarray(array, np.float32))
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._outputs]

    def _load(self) -> Any:
        """Open the file on the first call, so that building a detector costs nothing."""
        if self._interpreter is None:
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(str(self.path), num_threads=1)
            interpreter.allocate_tensors()
            self._input = interpreter.get_input_details()[0]["index"]
            self._outputs = [detail["index"] for detail in interpreter.get_output_details()]
            self._interpreter = interpreter
        return self._interpreter
