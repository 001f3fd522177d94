"""Training of both stages from the command line: Lightning CLI, exact resume, sweeps, export.

`python -m atom` and `python -m mtov` are `main`. A run lives in one folder, `runs/<config>`, and
goes on from its last checkpoint when it is started again. Resuming is exact: what a step draws
(batch, noise, dropout) is a function of the seed and of the step's number alone.
"""

from __future__ import annotations

from moditalker.training.cli import main
from moditalker.training.sampler import ResumableSampler

__all__ = ["ResumableSampler", "main"]
