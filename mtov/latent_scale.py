"""The statistics of latents: diffusion works on latents of zero mean and unit variance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtov.planes import PlaneShape


class LatentScale(nn.Module):
    """Mean and standard deviation (channels, 3) of a latent per channel and plane.

    Conditions come from the same kind of encoder and are scaled by the same numbers.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, planes: PlaneShape, channels: int) -> None:
        super().__init__()
        self.counts = [rows * columns for rows, columns in planes.sizes]
        self.register_buffer("latent_mean", torch.zeros(channels, 3))
        self.register_buffer("latent_std", torch.ones(channels, 3))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take over measured statistics, each (channels, 3)."""
        self.latent_mean.copy_(mean)
        self.latent_std.copy_(std)

    def normalize(self, latents: Tensor) -> Tensor:
        """Latents (B, k * channels, N) of an encoder to zero mean and unit variance."""
        mean, std = (self.spread(x, latents) for x in (self.latent_mean, self.latent_std))
        return (latents - mean) / std

    def denormalize(self, latents: Tensor) -> Tensor:
        """The inverse of `normalize`, clamped to the encoder's range [-1, 1]."""
        mean, std = (self.spread(x, latents) for x in (self.latent_mean, self.latent_std))
        return (latents * std + mean).clamp(-1, 1)

    def spread(self, values: Tensor, latents: Tensor) -> Tensor:
        """Values (channels, 3) to every token of the latents: (k * channels, N)."""
        counts = torch.tensor(self.counts, device=values.device)
        return values.repeat_interleave(counts, dim=1).repeat(latents.shape[1] // len(values), 1)
