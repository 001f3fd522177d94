"""The three planes of a tri-plane latent, and the one tensor that carries them (PVDM, §3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class PlaneShape:
    """Sizes of the planes hw (height, width), sh (frames, height) and sw (frames, width)."""

    frames: int = 16
    height: int = 32
    width: int = 32

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Rows and columns of each plane, in the order of the tokens."""
        return (self.height, self.width), (self.frames, self.height), (self.frames, self.width)

    @property
    def tokens(self) -> int:
        """N, the number of tokens of a latent (B, C, N)."""
        return sum(rows * columns for rows, columns in self.sizes)

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latent (B, C, N) to planes hw (B, C, h, w), sh (B, C, s, h) and sw (B, C, s, w)."""
        parts = latent.split([rows * columns for rows, columns in self.sizes], dim=-1)
        hw, sh, sw = (
            rearrange(part, "b c (r k) -> b c r k", r=rows)
            for part, (rows, _) in zip(parts, self.sizes, strict=True)
        )
        return hw, sh, sw

    @staticmethod
    def join(hw: Tensor, sh: Tensor, sw: Tensor) -> Tensor:
        """Planes to one latent (B, C, N), the inverse of `split`."""
        return torch.cat([plane.flatten(2) for plane in (hw, sh, sw)], dim=-1)

    @staticmethod
    def volume(hw: Tensor, sh: Tensor, sw: Tensor) -> Tensor:
        """Sum of the planes, each repeated along its missing axis: (B, C, s, h, w)."""
        return hw[:, :, None] + sh[..., None] + sw[:, :, :, None]
