"""The U-Net over the three planes of a tri-plane latent (PVDM §3.2; MoDiTalker A.2).

One 2-D U-Net works on every plane with the same weights; after each block the tokens of all three
planes attend to one another. Noise and conditions enter as channels, the timestep by FiLM.

The published networks also attend within each plane at all but the coarsest level
(`plane_attention`). So built, the `paper` preset has 132.2 M parameters. The 207.7 M of the
published code count a second decoder of 75.5 M that its forward pass never runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moditalker.transformer import Attention, timestep_embedding
from mtov.latent_scale import LatentScale
from mtov.planes import PlaneShape

Resample = Literal["up", "down"]
Grids = list[Tensor]


@dataclass(frozen=True)
class UNetSettings:
    """Sizes of the U-Net. The defaults are the paper's."""

    frames: int = 16
    "S, the frames of a clip: rows of the planes sh and sw."
    height: int = 32
    "Rows of the plane hw."
    width: int = 32
    "Columns of the plane hw."
    base: int = 128
    "Channels of the first level."
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    "Channels of each level, in units of base; each level halves the planes."
    blocks: int = 2
    "Residual blocks per level (one more on the way up)."
    heads: int = 8
    "Heads of every attention."
    plane_attention: int = 3
    "How many of the first levels also attend within each plane, before they attend jointly."
    positions: bool = False
    "Learn an embedding of every token's place, so that equal planes are told apart."
    residual: bool = False
    "Work on what differs from the identity latent, instead of on the latent itself."
    channels_in: int = 16
    "Noisy latent and conditions: 4 noisy, 4 landmark, 4 pose, 4 identity."
    channels_out: int = 4
    "Channels of the latent."
    checkpointing: bool = False
    "Recompute the blocks in the backward pass: less memory, a third more time."

    def __post_init__(self) -> None:
        coarsest = 2 ** (len(self.multipliers) - 1)
        for name in ("frames", "height", "width"):
            if getattr(self, name) % coarsest:
                raise ValueError(
                    f"{name} {getattr(self, name)} cannot be halved {len(self.multipliers) - 1} "
                    f"times; choose a multiple of {coarsest}, or fewer multipliers"
                )
        if any(self.base * multiplier % self.heads for multiplier in self.multipliers):
            raise ValueError(
                f"base {self.base} x multipliers is not divisible by heads {self.heads}"
            )

    @property
    def planes(self) -> PlaneShape:
        """Shape of the latent's planes."""
        return PlaneShape(self.frames, self.height, self.width)


def normalization(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups, or as many as divide the channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all parameters zero, so that the branch it ends starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def to_grids(tokens: Tensor, shape: PlaneShape) -> Grids:
    """Tokens (B, N, C) to grids (B * g, C, rows, columns), g planes of equal size in each.

    So the shared layers see as few and as large batches as the shapes allow.
    """
    grids, start = [], 0
    for (rows, columns), equal in groupby(shape.sizes):
        stop = start + len(list(equal)) * rows * columns
        grid = tokens[:, start:stop].unflatten(1, (-1, rows, columns))
        grids.append(rearrange(grid, "b g r k c -> (b g) c r k"))
        start = stop
    return grids


def to_tokens(grids: Grids, batch: int) -> Tensor:
    """The inverse of `to_grids`: tokens (B, N, C)."""
    return torch.cat([rearrange(g, "(b g) c r k -> b (g r k) c", b=batch) for g in grids], dim=1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, FiLM of the timestep between; may halve or double planes (ADM)."""

    def __init__(
        self, channels: int, out: int, time_dim: int, resample: Resample | None = None
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm_in, self.norm_out = normalization(channels), normalization(out)
        self.first = nn.Conv2d(channels, out, 3, padding=1)
        self.second = zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.film = nn.Linear(time_dim, 2 * out)
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Grid (B * g, channels, rows, columns) and time (B, time_dim)."""
        hidden = self.first(self.resampled(F.silu(self.norm_in(x))))
        film = self.film(F.silu(time)).repeat_interleave(len(x) // len(time), dim=0)
        scale, shift = film[..., None, None].chunk(2, dim=1)
        hidden = self.norm_out(hidden) * (1 + scale) + shift
        return self.skip(self.resampled(x)) + self.second(F.silu(hidden))

    def resampled(self, x: Tensor) -> Tensor:
        """x halved by averaging, doubled by repeating, or as it is."""
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return x


class SelfAttention(nn.Module):
    """Residual self-attention over tokens (B, L, channels), with group norm before it."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = normalization(channels)
        self.attention = Attention(channels, heads)
        zeroed(self.attention.to_out)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.norm(x.mT).mT)


class PlaneAttention(SelfAttention):
    """Self-attention within each plane of a grid (B * g, channels, rows, columns)."""

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        tokens = super().forward(rearrange(x, "b c r k -> b (r k) c"))
        return rearrange(tokens, "b (r k) c -> b c r k", r=x.shape[-2])


class Block(nn.Module):
    """Layers that each plane goes through by itself, then one attention over all three."""

    def __init__(
        self, layers: Iterable[nn.Module], joint: SelfAttention, shape: PlaneShape
    ) -> None:
        super().__init__()
        self.layers, self.joint, self.shape = nn.ModuleList(layers), joint, shape

    def forward(self, time: Tensor, *grids: Tensor) -> Grids:
        """Time (B, time_dim) and the planes' grids to grids of planes of `shape`."""
        each = list(grids)
        for layer in self.layers:
            each = [layer(grid, time) for grid in each]
        return to_grids(self.joint(to_tokens(each, len(time))), self.shape)


class Builder:
    """Makes the U-Net's blocks one after another, and remembers widths and the planes' shape."""

    def __init__(self, settings: UNetSettings) -> None:
        self.settings, self.time_dim = settings, 4 * settings.base
        self.channels, self.shape = settings.base, settings.planes
        self.skips = [settings.base]

    def residual(self, channels: int, resample: Resample | None = None) -> ResidualBlock:
        """From the channels now to `channels`, keeping count of them and of the planes' shape."""
        block = ResidualBlock(self.channels, channels, self.time_dim, resample)
        self.channels = channels
        frames, height, width = self.shape.frames, self.shape.height, self.shape.width
        if resample == "down":
            self.shape = PlaneShape(frames // 2, height // 2, width // 2)
        if resample == "up":
            self.shape = PlaneShape(frames * 2, height * 2, width * 2)
        return block

    def within(self, level: int) -> list[nn.Module]:
        """The attention within each plane, on levels that have one."""
        if level >= self.settings.plane_attention:
            return []
        return [PlaneAttention(self.channels, self.settings.heads)]

    def block(self, layers: Iterable[nn.Module]) -> Block:
        """The layers, closed by the joint attention."""
        return Block(layers, SelfAttention(self.channels, self.settings.heads), self.shape)

    def down(self) -> list[Block]:
        """The way down; each block's output is kept for the way up."""
        made, last = [], len(self.settings.multipliers) - 1
        for level, multiplier in enumerate(self.settings.multipliers):
            for _ in range(self.settings.blocks):
                residual = self.residual(self.settings.base * multiplier)
                made.append(self.block([residual, *self.within(level)]))
                self.skips.append(self.channels)
            if level < last:
                made.append(self.block([self.residual(self.channels, "down")]))
                self.skips.append(self.channels)
        return made

    def middle(self) -> Block:
        """Two residual blocks, with an attention within each plane between them."""
        layers = [self.residual(self.channels), *self.within(0), self.residual(self.channels)]
        return self.block(layers)

    def up(self) -> list[Block]:
        """The way up; each block reads what the way down kept."""
        made = []
        for level, multiplier in reversed(list(enumerate(self.settings.multipliers))):
            for index in range(self.settings.blocks + 1):
                self.channels += self.skips.pop()
                residual = self.residual(self.settings.base * multiplier)
                layers = [residual, *self.within(level)]
                if level and index == self.settings.blocks:
                    layers.append(self.residual(self.channels, "up"))
                made.append(self.block(layers))
        return made


class UNet(nn.Module):
    """Predicts x0, epsilon or v of a tri-plane latent from a noisy one, a timestep and conditions.

    `scale` says what it works on, and holds the statistics that it was trained with.
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        base, builder = settings.base, Builder(settings)
        time_dim = builder.time_dim
        self.time = nn.Sequential(
            nn.Linear(base, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim)
        )
        self.open = nn.Conv2d(settings.channels_in, base, 3, padding=1)
        places = torch.randn(settings.planes.tokens, base) * 0.02 if settings.positions else None
        self.places = None if places is None else nn.Parameter(places)
        self.down = nn.ModuleList(builder.down())
        self.middle = builder.middle()
        self.up = nn.ModuleList(builder.up())
        last = zeroed(nn.Conv2d(base, settings.channels_out, 3, padding=1))
        self.close = nn.Sequential(normalization(base), nn.SiLU(), last)
        self.scale = LatentScale(settings.planes, settings.channels_out, settings.residual)
        # Tokens (B, N, C) seen as planes are in this layout already; so convolutions copy nothing.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """Noisy latent (B, 4, N), timestep (B,) and condition (B, 12, N) to (B, 4, N)."""
        time = self.time(timestep_embedding(timestep, self.settings.base).to(noisy.dtype))
        grids = self.opened(torch.cat([noisy, condition], dim=1))
        kept = [grids]
        for block in self.down:
            grids = self.run(block, time, grids)
            kept.append(grids)
        grids = self.run(self.middle, time, grids)
        for block in self.up:
            joined = [torch.cat(pair, dim=1) for pair in zip(grids, kept.pop(), strict=True)]
            grids = self.run(block, time, joined)
        return to_tokens([self.close(grid) for grid in grids], len(noisy)).mT

    def opened(self, latents: Tensor) -> Grids:
        """Latents (B, channels_in, N) to the first features of each plane."""
        shape = self.settings.planes
        grids = [self.open(grid) for grid in to_grids(latents.mT, shape)]
        if self.places is None:
            return grids
        return to_grids(to_tokens(grids, len(latents)) + self.places, shape)

    def run(self, block: nn.Module, time: Tensor, grids: Grids) -> Grids:
        """One block, kept or recomputed in the backward pass."""
        if self.settings.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, time, *grids, use_reentrant=False)
        return block(time, *grids)
