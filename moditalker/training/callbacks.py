"""What happens beside the steps: the moving average, seeds, checkpoints, and a line a minute."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch import Tensor

LAST = "last.ckpt"


def tell(line: str) -> None:
    """A line of the log, with the time of day, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


class MovingAverage(WeightAveraging):
    """Exponential moving average; checkpoints hold the averaged weights as `state_dict`.

    The decay rises with the steps, (1 + n) / (10 + n) until it reaches `decay`; otherwise the
    average of a run that is short for its decay would mostly be its first, random weights.
    """

    def __init__(self, decay: float = 0.9999) -> None:
        self.decay = decay
        super().__init__(avg_fn=self.average)

    def average(self, averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        """The new average, after `steps` updates."""
        if not averaged.is_floating_point():
            return current
        decay = min(self.decay, (1 + float(steps)) / (10 + float(steps)))
        return averaged.lerp(current, 1 - decay)


class StepSeeds(Callback):
    """Seed torch's generators by the step's number, so that dropout and noise resume exactly."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        part = batch_idx % trainer.accumulate_grad_batches
        numbers = [self.seed, trainer.global_step, part, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt` in the run's folder, every so many steps or by the clock."""

    def __init__(self, folder: Path, **when: Any) -> None:
        super().__init__(folder, save_top_k=0, save_last=True, enable_version_counter=False, **when)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Not here: the average has replaced the weights by then; EndCheckpoint comes before."""


class EndCheckpoint(Callback):
    """`last.ckpt` when training ends, before the average replaces the weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / LAST)


class MinuteLog(Callback):
    """One line a minute: step, epoch, mean losses, pace and remaining time."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.last_time, self.last_step, self.batches = 0.0, 0, 0
        self.sums: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.begin(trainer)
        tell(f"step {trainer.global_step} of {trainer.max_steps}, on {module.device}")

    def begin(self, trainer: pl.Trainer) -> None:
        """Forget what has been counted."""
        self.last_time, self.last_step = time.monotonic(), trainer.global_step
        self.batches, self.sums = 0, {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *unused: Any
    ) -> None:
        self.batches += 1
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train_"):
                self.sums[name] = self.sums.get(name, torch.zeros(())) + value.detach().cpu()
        passed = time.monotonic() - self.last_time
        if passed >= self.seconds and trainer.global_step > self.last_step:
            self.report(trainer, passed)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.global_step > self.last_step:
            self.report(trainer, time.monotonic() - self.last_time)

    def report(self, trainer: pl.Trainer, passed: float) -> None:
        """Write the line and begin anew."""
        pace = (trainer.global_step - self.last_step) / max(passed, 1e-9)
        means = {k.removeprefix("train_"): v / self.batches for k, v in self.sums.items()}
        losses = " ".join(f"{name} {float(value):.4g}" for name, value in means.items())
        left = round((trainer.max_steps - trainer.global_step) / pace)
        remaining = f", {timedelta(seconds=left)} left" if trainer.max_steps > 0 else ""
        place = f"step {trainer.global_step} (epoch {trainer.current_epoch})"
        tell(f"{place}: {losses}, {pace:.2f} steps/s{remaining}")
        self.begin(trainer)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val_")}
        if found and not trainer.sanity_checking:
            means = " ".join(f"{k.removeprefix('val_')} {v:.4g}" for k, v in found.items())
            tell(f"step {trainer.global_step}: validation {means}")
