"""Transformer parts that both stages share: attention, rotary positions, feed-forward."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def rotary_angles(
    length: int, head_dim: int, device: torch.device, base: float = 1e4, spacing: float = 1.0
) -> Tensor:
    """Angles (length, head_dim / 2) of rotary positions (RoFormer, arXiv 2104.09864, eq. 15).

    Positions are `spacing` apart, so that sequences of different rates share one clock.
    """
    frequencies = base ** (-torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    return torch.arange(length, device=device).float()[:, None] * spacing * frequencies


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn pairs of channels of x (..., L, D) by `angles` (L, D / 2)."""
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Multi-head attention of x (B, L, dim) over `context` (B, M, context_dim), or over itself.

    `rotary` turns queries and keys by their places in the sequence; `angles` (L, head_dim / 2) and
    `context_angles` (M, head_dim / 2) given to `forward` turn them by any other position.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        context_dim: int | None = None,
        rotary: bool = False,
        head_dim: int | None = None,
    ) -> None:
        super().__init__()
        if head_dim is None and dim % heads:
            raise ValueError(f"dim {dim} is not divisible by heads {heads}")
        inner = heads * (head_dim or dim // heads)
        self.heads, self.rotary = heads, rotary
        self.to_query = nn.Linear(dim, inner, bias=False)
        self.to_key_value = nn.Linear(context_dim or dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        angles: Tensor | None = None,
        context_angles: Tensor | None = None,
    ) -> Tensor:
        context_angles = angles if context is None else context_angles
        context = x if context is None else context
        query = rearrange(self.to_query(x), "b l (h d) -> b h l d", h=self.heads)
        key, value = rearrange(
            self.to_key_value(context), "b m (kv h d) -> kv b h m d", kv=2, h=self.heads
        )
        if angles is not None:
            assert context_angles is not None, "queries and keys are turned together or not at all"
            query, key = rotate(query, angles), rotate(key, context_angles)
        elif self.rotary:
            query = rotate(query, rotary_angles(query.shape[2], query.shape[3], x.device))
            key = rotate(key, rotary_angles(key.shape[2], key.shape[3], x.device))
        out = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(rearrange(out, "b h l d -> b l (h d)"))


class FeedForward(nn.Sequential):
    """Linear, GELU, dropout, linear: (..., dim) to (..., dim)."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )


def timestep_embedding(timestep: Tensor, dim: int, max_period: float = 1e4) -> Tensor:
    """Sinusoids (B, dim) of diffusion timesteps (B,) (DDPM, arXiv 2006.11239)."""
    half = dim // 2
    steps = torch.arange(half, device=timestep.device).float()
    angles = timestep.float()[:, None] * torch.exp(
        -steps * torch.log(torch.tensor(max_period)) / half
    )
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class GatedFeedForward(nn.Module):
    """Feed-forward with a GELU gate (GEGLU, arXiv 2002.05202): (..., dim) to (..., dim)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.open = nn.Linear(dim, 2 * hidden)
        self.close = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.open(x).chunk(2, dim=-1)
        return self.close(value * F.gelu(gate))


def axial_angles(rows: int, columns: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotary angles (rows * columns, head_dim / 2): half the channels by row, half by column."""
    row = rotary_angles(rows, head_dim // 2, device, base=100)
    column = rotary_angles(columns, head_dim // 2, device, base=100)
    both = torch.cat(torch.broadcast_tensors(row[:, None], column[None]), dim=-1)
    return both.flatten(0, 1)
