"""Diffusion for both stages: schedule, training targets and sampling.

Networks know nothing of noise: a network maps (x_t, t, conditions) to a prediction, this module
says what x_t and the prediction are. Samplers come from diffusers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Prediction = Literal["sample", "epsilon", "v_prediction"]
Sampler = Literal["dpm-solver++", "unipc", "ddim"]
SAMPLERS = {
    "dpm-solver++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "ddim": "DDIMScheduler",
}


@dataclass(frozen=True)
class DiffusionSettings:
    """The noise schedule and what the network predicts."""

    timesteps: int = 1000
    "Number of noise levels in training."
    schedule: Literal["cosine", "scaled_linear"] = "scaled_linear"
    "cosine (AToM), or linear in the square root of beta (MToV)."
    beta_start: float = 0.0015
    "First beta of the scaled_linear schedule."
    beta_end: float = 0.0195
    "Last beta of the scaled_linear schedule."
    prediction_type: Prediction = "sample"
    "What the network predicts: sample (x0), epsilon or v_prediction."

    def scheduler_config(self) -> dict[str, Any]:
        """The same settings under the names that diffusers uses."""
        schedule = {"cosine": "squaredcos_cap_v2"}.get(self.schedule, self.schedule)
        return {
            "num_train_timesteps": self.timesteps,
            "beta_schedule": schedule,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "prediction_type": self.prediction_type,
        }


class Diffusion:
    """The forward process q(x_t | x_0) and the conversions between predictions.

    alpha and sigma are the square roots of alpha-bar and 1 - alpha-bar (DDPM, arXiv 2006.11239).
    """

    def __init__(self, settings: DiffusionSettings) -> None:
        from diffusers import DDPMScheduler

        self.settings = settings
        scheduler: Any = DDPMScheduler(**settings.scheduler_config())
        self.alphas_cumprod: Tensor = scheduler.alphas_cumprod

    def coefficients(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of timesteps (B,), shaped to multiply `like` (B, ...)."""
        alpha_bar = self.alphas_cumprod.to(like.device)[timestep].to(like.dtype)
        alpha_bar = alpha_bar.view(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def add_noise(self, x0: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """x_t = alpha x_0 + sigma noise, for x0 (B, ...) and timestep (B,)."""
        alpha, sigma = self.coefficients(timestep, x0)
        return alpha * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """What the network should predict."""
        if self.settings.prediction_type == "sample":
            return x0
        if self.settings.prediction_type == "epsilon":
            return noise
        alpha, sigma = self.coefficients(timestep, x0)
        return alpha * noise - sigma * x0

    def to_x0(self, prediction: Tensor, x_t: Tensor, timestep: Tensor) -> Tensor:
        """The x_0 that a prediction stands for."""
        if self.settings.prediction_type == "sample":
            return prediction
        alpha, sigma = self.coefficients(timestep, x_t)
        if self.settings.prediction_type == "epsilon":
            return (x_t - sigma * prediction) / alpha
        return alpha * x_t - sigma * prediction

    def random_timesteps(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Timesteps (count,) drawn evenly for training."""
        return torch.randint(0, self.settings.timesteps, (count,), generator=generator)

    def sampler(self, name: Sampler, steps: int) -> Any:
        """A diffusers scheduler of this process, set to `steps` network evaluations."""
        import diffusers

        config = {**self.settings.scheduler_config(), "timestep_spacing": "trailing"}
        if name == "ddim":
            config |= {"clip_sample": False, "set_alpha_to_one": True}
        scheduler = getattr(diffusers, SAMPLERS[name])(**config)
        scheduler.set_timesteps(steps)
        return scheduler


def sample(
    denoise: Callable[[Tensor, Tensor], Tensor],
    shape: tuple[int, ...],
    diffusion: Diffusion,
    *,
    steps: int,
    generator: torch.Generator,
    sampler: Sampler = "dpm-solver++",
    device: torch.device | str = "cpu",
    callback: Callable[[int, int], None] | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """Draw x_0 of `shape` in `steps` evaluations of `denoise(x_t, timestep (B,))`.

    The noise is drawn on the generator's device and then moved, so that a seed means the same
    sample everywhere; or it is given. `callback(done, steps)` is told after every evaluation.
    """
    scheduler = diffusion.sampler(sampler, steps)
    if noise is None:
        noise = torch.randn(shape, generator=generator, device=generator.device)
    x_t = noise.to(device)
    for done, timestep in enumerate(scheduler.timesteps, start=1):
        prediction = denoise(x_t, timestep.to(device).expand(shape[0]))
        x_t = scheduler.step(prediction, timestep, x_t).prev_sample
        if callback:
            callback(done, steps)
    return x_t
