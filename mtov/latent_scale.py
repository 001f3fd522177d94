"""What diffusion works on: latents, or what differs from the identity latent, of unit variance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtov.planes import PlaneShape


class LatentScale(nn.Module):
    """Mean and standard deviation (channels, 3) per channel and plane, of latents and of residuals.

    Conditions come from the same kind of encoder as the latents, and are scaled by the same numbers.
    With `residual`, diffusion works on latent minus identity latent: a network that predicts zero
    then gives the identity frames back, and learns nothing but what speech changes.
    """

    latent_mean: Tensor
    latent_std: Tensor
    residual_mean: Tensor
    residual_std: Tensor

    def __init__(self, planes: PlaneShape, channels: int, residual: bool = False) -> None:
        super().__init__()
        self.channels, self.residual = channels, residual
        self.counts = [rows * columns for rows, columns in planes.sizes]
        for name in ("latent", "residual") if residual else ("latent",):
            self.register_buffer(f"{name}_mean", torch.zeros(channels, 3))
            self.register_buffer(f"{name}_std", torch.ones(channels, 3))

    def set(self, mean: Tensor, std: Tensor, residual_mean: Tensor, residual_std: Tensor) -> None:
        """Take over measured statistics, each (channels, 3)."""
        self.latent_mean.copy_(mean)
        self.latent_std.copy_(std)
        if self.residual:
            self.residual_mean.copy_(residual_mean)
            self.residual_std.copy_(residual_std)

    def normalize(self, latents: Tensor) -> Tensor:
        """Latents or conditions (B, k * channels, N) to zero mean and unit variance."""
        mean, std = (self.spread(x, latents) for x in (self.latent_mean, self.latent_std))
        return (latents - mean) / std

    def to_x0(self, latent: Tensor, condition: Tensor) -> Tensor:
        """What diffusion works on, for a latent (B, channels, N) and its condition."""
        if not self.residual:
            return self.normalize(latent)
        mean, std = (self.spread(x, latent) for x in (self.residual_mean, self.residual_std))
        return (latent - self.identity(condition) - mean) / std

    def to_latent(self, x0: Tensor, condition: Tensor) -> Tensor:
        """The inverse of `to_x0`, clamped to the encoder's range [-1, 1]."""
        name = "residual" if self.residual else "latent"
        mean, std = (self.spread(getattr(self, f"{name}_{x}"), x0) for x in ("mean", "std"))
        latent = x0 * std + mean
        return (latent + self.identity(condition) if self.residual else latent).clamp(-1, 1)

    def identity(self, condition: Tensor) -> Tensor:
        """The identity latent, last of the condition's three."""
        return condition[:, -self.channels :]

    def spread(self, values: Tensor, latents: Tensor) -> Tensor:
        """Values (channels, 3) to every token of the latents: (k * channels, N)."""
        counts = torch.tensor(self.counts, device=values.device)
        return values.repeat_interleave(counts, dim=1).repeat(latents.shape[1] // len(values), 1)
