"""A sampler that goes on where a run was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler

ENDLESS = 2**40  # items are drawn for as long as training asks for them


class ResumableSampler(Sampler[int]):
    """Item numbers without end, from the step at which the trainer stands.

    A data set whose item i is a function of (seed, i) alone then gives step n the same batch in
    every run, resumed or not. Several devices take turns: each reads every world-size-th item.
    """

    def __init__(self, start: int = 0, stride: int = 1) -> None:
        self.start, self.stride = start, stride

    @classmethod
    def of(cls, trainer: Any, batch_size: int) -> ResumableSampler:
        """For a Lightning trainer (None: from the start), at `batch_size` items a device."""
        if trainer is None:
            return cls()
        batches = trainer.global_step * trainer.accumulate_grad_batches
        world = trainer.world_size
        return cls(batches * batch_size * world + trainer.global_rank, world)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, ENDLESS, self.stride))

    def __len__(self) -> int:
        return len(range(self.start, ENDLESS, self.stride))
