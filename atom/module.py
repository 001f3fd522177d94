"""AToM's Lightning module: the loss of [P §4.2], sampling for validation, pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from atom.metrics import scores
from atom.model import AToM, AToMSettings
from atom.sampling import generate_motion
from atom.statistics import Statistics
from moditalker.diffusion import Diffusion, DiffusionSettings
from moditalker.errors import MissingExtraError
from moditalker.landmarks import MOUTH, mean_face

Batch = dict[str, Tensor]


class AToMModule(pl.LightningModule):
    """Trains AToM to predict clean residuals from noisy ones."""

    def __init__(
        self,
        network: AToMSettings = AToMSettings(),  # noqa: B008 (frozen)
        diffusion: DiffusionSettings = DiffusionSettings(schedule="cosine"),  # noqa: B008 (frozen)
        speech_encoder: str = "facebook/hubert-large-ls960-ft",
        residual_scale: float = 10.0,
        optimizer: Literal["adan", "adamw"] = "adan",
        learning_rate: float = 1e-4,
        weight_decay: float = 0.02,
        warm_up: int = 500,
        decay_steps: int | None = None,
        loss_weight: float = 7.5,
        velocity_weight: float = 1.5,
        mouth_weight: float = 1.0,
        drop_condition: float = 0.25,
        sampling_steps: int = 10,
        guidance: float = 2.0,
        temperature: float = 1.0,
    ) -> None:
        """
        Args:
            network: sizes.
            diffusion: noise schedule and what is predicted.
            speech_encoder: which features the data module reads; written into the bundle.
            residual_scale: residuals are multiplied by this before diffusion.
            optimizer: adan [P], or adamw.
            learning_rate: of the optimizer.
            weight_decay: of the optimizer.
            warm_up: steps of rising learning rate.
            decay_steps: cosine to a twentieth over so many steps; null: constant.
            loss_weight: of L2 on residuals (published code).
            velocity_weight: of L2 on their first difference (published code).
            mouth_weight: of the mouth's points within both.
            drop_condition: probability of training without conditions.
            sampling_steps: network evaluations in validation.
            guidance: in validation, and the bundle's default.
            temperature: in validation, and the bundle's default; see generate_motion.
        """
        super().__init__()
        self.network = AToM(network)
        self.diffusion = Diffusion(diffusion)
        mean = tuple(float(value) for value in mean_face().ravel())
        self.statistics = Statistics(mean, residual_scale=residual_scale)
        self.speech_encoder, self.optimizer_name = speech_encoder, optimizer
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.warm_up, self.decay_steps = warm_up, decay_steps
        self.loss_weight, self.velocity_weight = loss_weight, velocity_weight
        self.drop_condition = drop_condition
        self.sampling_steps, self.guidance, self.temperature = sampling_steps, guidance, temperature
        self.point_weights: Tensor
        weights = torch.ones(68, 3)
        weights[MOUTH] = mouth_weight
        self.register_buffer("point_weights", weights.flatten() / weights.mean(), persistent=False)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        x0 = self.statistics.residual(batch["landmarks"], batch["initial"])
        timestep = self.diffusion.random_timesteps(len(x0)).to(x0.device)
        noise = torch.randn_like(x0)
        noisy = self.diffusion.add_noise(x0, noise, timestep)
        keep = torch.rand(len(x0), device=x0.device) >= self.drop_condition
        initial = self.statistics.landmark(batch["initial"])
        predicted = self.network(noisy, timestep, batch["speech"], initial, keep)
        predicted = self.diffusion.to_x0(predicted, noisy, timestep)
        losses = self.losses(predicted, x0)
        self.log_dict({f"train_{k}": v for k, v in losses.items()}, batch_size=len(x0))
        return losses["loss"]

    def losses(self, predicted: Tensor, x0: Tensor) -> dict[str, Tensor]:
        """L2 on residuals and on their velocity, of (B, T, 204)."""
        error = predicted - x0
        position = (self.point_weights * error.square()).mean()
        velocity = (self.point_weights * error.diff(dim=1).square()).mean()
        total = self.loss_weight * position + self.velocity_weight * velocity
        return {"loss": total, "position": position, "velocity": velocity}

    def draw(self, batch: Batch, seed: int = 0) -> Tensor:
        """Motion (T, 68, 3) for a batch of one clip."""
        return generate_motion(
            self.network,
            self.statistics,
            self.diffusion,
            batch["speech"][0],
            batch["initial"][0],
            generator=torch.Generator().manual_seed(seed),
            steps=self.sampling_steps,
            guidance=self.guidance,
            temperature=self.temperature,
        )

    def validation_step(self, batch: Batch, index: int) -> None:
        self.score(batch, "val", index)

    def test_step(self, batch: Batch, index: int) -> None:
        self.score(batch, "test", index)

    def score(self, batch: Batch, name: str, index: int) -> None:
        """Log the figures of one whole clip; draw the first."""
        drawn = self.draw(batch).cpu().numpy()
        truth, initial = (batch[key][0].cpu().numpy() for key in ("landmarks", "initial"))
        found = {f"{name}_{k}": v for k, v in scores(drawn, truth, initial).items()}
        self.log_dict(found, batch_size=1, on_epoch=True)
        if index == 0:
            self.log_picture(drawn, truth)

    def log_picture(self, drawn: np.ndarray, truth: np.ndarray) -> None:
        """A strip of drawn landmarks over true ones, saved in the log folder."""
        from PIL import Image

        from moditalker.preview import draw_landmarks

        places = np.linspace(0, len(truth) - 1, 6).astype(int)
        rows = [
            np.hstack([draw_landmarks(to_canvas(motion[place]), 256) for place in places])
            for motion in (drawn, truth)
        ]
        picture = np.vstack(rows)
        folder = Path(self.trainer.log_dir or self.trainer.default_root_dir) / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"step-{self.global_step:07d}.png")
        for board in (getattr(logger, "experiment", None) for logger in self.loggers):
            if board is not None and hasattr(board, "add_image"):
                board.add_image("drawn over true", picture, self.global_step, dataformats="HWC")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what `python -m atom export` puts into a bundle."""
        checkpoint["export"] = {
            "name": "atom",
            "prefix": "network.",
            "section": asdict(self.network.settings),
            "more": {
                "statistics": asdict(self.statistics),
                "diffusion": asdict(self.diffusion.settings),
                "speech_encoder": self.speech_encoder,
                "guidance": self.guidance,
                "temperature": self.temperature,
            },
        }

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer()
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factor)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Adan (arXiv 2208.06677) or AdamW."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer_name == "adamw":
            return torch.optim.AdamW(self.parameters(), **options)
        try:
            from pytorch_optimizer import Adan
        except ImportError as error:
            raise MissingExtraError("pytorch-optimizer", "train") from error
        return Adan(self.parameters(), weight_decouple=True, **options)

    def rate_factor(self, step: int) -> float:
        """Linear warm-up, then constant, or a cosine to a twentieth at `decay_steps`."""
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        if self.decay_steps is None:
            return warm
        done = min(1.0, step / self.decay_steps)
        return warm * (0.05 + 0.95 * (1 + float(np.cos(np.pi * done))) / 2)


def to_canvas(landmarks: np.ndarray, size: int = 256) -> np.ndarray:
    """Canonical landmarks (68, 3) to pixels (68, 2) of a square canvas."""
    return (landmarks[:, :2] * [1, -1] + [1.1, 0.55]) * size / 2.2
