"""How landmarks are standardised before diffusion; part of the weights' bundle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Mean landmark, and the scales of landmarks and of residuals."""

    mean: tuple[float, ...]
    "The mean face, 204 numbers in the canonical space."
    landmark_scale: float = 10.0
    "Landmarks less the mean face are multiplied by this [P]."
    residual_scale: float = 10.0
    "Residuals are multiplied by this: 10 [P], or such that the lips have unit variance."

    def landmark(self, landmarks: Tensor) -> Tensor:
        """Landmarks (..., 68, 3) to the network's (..., 204)."""
        flat = landmarks.flatten(-2)
        return (flat - torch.tensor(self.mean, device=flat.device)) * self.landmark_scale

    def residual(self, landmarks: Tensor, initial: Tensor) -> Tensor:
        """Landmarks (..., T, 68, 3) and initial (..., 68, 3) to residuals (..., T, 204)."""
        return (landmarks - initial.unsqueeze(-3)).flatten(-2) * self.residual_scale

    def landmarks(self, residual: Tensor, initial: Tensor) -> Tensor:
        """The inverse of `residual`."""
        points = (residual / self.residual_scale).unflatten(-1, (68, 3))
        return initial.unsqueeze(-3) + points
