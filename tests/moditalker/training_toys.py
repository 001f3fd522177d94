"""A tiny module and its data, for tests of training: small enough to train in a second."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from moditalker.training import ResumableSampler
from moditalker.training.sampler import ENDLESS


class ToyModule(pl.LightningModule):
    """A regression with dropout, so that a step is random."""

    def __init__(self, width: int = 4, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, width), nn.Dropout(0.5), nn.Linear(width, 1))
        self.learning_rate = learning_rate

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        noisy = batch + torch.randn_like(batch)
        loss = (self.net(noisy) - batch.sum(dim=1, keepdim=True)).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        torch.rand(7)  # validation draws numbers too, which must not matter
        self.log("val_loss", self.net(batch).square().mean())

    def test_step(self, batch: Tensor, index: int) -> None:
        self.log("test_loss", self.net(batch).square().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        section = {"width": self.net[0].out_features}
        note = {"name": "atom", "prefix": "net.", "section": section, "more": {}}
        checkpoint["export"] = note


class Numbers(Dataset[Tensor]):
    """Item i is a function of i."""

    def __init__(self, length: int = ENDLESS) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(3, generator=torch.Generator().manual_seed(index))


class ToyData(pl.LightningDataModule):
    """Numbers, by the resumable sampler."""

    def __init__(self, batch_size: int = 2) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Tensor]:
        sampler = ResumableSampler.of(self.trainer, self.batch_size)
        return DataLoader(Numbers(), self.batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(Numbers(4), 2)

    def test_dataloader(self) -> DataLoader[Tensor]:
        return self.val_dataloader()
