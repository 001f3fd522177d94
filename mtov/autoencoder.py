"""The tri-plane video autoencoder (PVDM §3.1; MoDiTalker A.2).

Video (B, C, S, H, W) in [-1, 1] to one latent (B, 4, N) and back. Encoder: patches, then space-time
blocks with divided attention. Three small transformers pool its tokens along time, width and height
with a learned token; 1x1 projections and tanh make the planes. The plain decoder here follows PVDM;
`mtov.asymmetric` has the one that also sees the pose frames and an identity frame.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moditalker.transformer import (
    Attention,
    FeedForward,
    GatedFeedForward,
    axial_angles,
    rotary_angles,
)
from mtov.planes import PlaneShape


@dataclass(frozen=True)
class AutoencoderSettings:
    """Sizes of the autoencoder. The defaults are the paper's (62 M parameters)."""

    size: int = 256
    "Height and width of the video in pixels."
    frames: int = 16
    "S, the frames of a clip."
    patch: int = 8
    "Pixels along one side of a patch: planes have size / patch rows."
    dim: int = 384
    "Width of the space-time blocks."
    depth: int = 8
    "Space-time blocks in the encoder, and as many in the plain decoder."
    heads: int = 8
    head_dim: int = 64
    feed_forward: int = 4
    "Hidden width of the gated feed-forward layers, in multiples of dim."
    pool_depth: int = 4
    "Layers of each of the three pooling transformers."
    pool_heads: int = 4
    pool_head_dim: int = 48
    pool_feed_forward: int = 512
    pool_mean: bool = False
    "Begin the learned token at the mean of what it pools: content reaches the planes from the start."
    channels: int = 4
    "Channels of a plane."
    stem: Literal["linear", "convolutional"] = "linear"
    "How patches become tokens: one linear map [V], or strided convolutions, which learn faster."
    decoder: Literal["plain", "asymmetric"] = "plain"
    "plain [V], or asymmetric: the decoder also sees pose frames and an identity frame."
    decoder_widths: tuple[int, ...] = (32, 48, 96, 128)
    "Channels of the asymmetric decoder, from half the size down to the planes' rows."
    decoder_landmarks: bool = False
    "The asymmetric decoder also sees the drawn landmarks: lips move after little training."
    checkpointing: bool = False
    "Recompute the blocks in the backward pass: less memory, a third more time."

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ValueError(f"size {self.size} is not divisible by patch {self.patch}")
        if self.decoder == "asymmetric" and self.patch != 2 ** len(self.decoder_widths):
            raise ValueError(
                f"decoder_widths has {len(self.decoder_widths)} levels, which needs a patch of "
                f"{2 ** len(self.decoder_widths)}, not {self.patch}"
            )

    @property
    def planes(self) -> PlaneShape:
        """Shape of the latent's planes."""
        side = self.size // self.patch
        return PlaneShape(self.frames, side, side)


class SpaceTimeBlock(nn.Module):
    """Attention along time, attention over space, gated feed-forward; pre-norm, residual."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        dim, heads, head_dim = settings.dim, settings.heads, settings.head_dim
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.time = Attention(dim, heads, head_dim=head_dim)
        self.space = Attention(dim, heads, head_dim=head_dim)
        self.feed_forward = GatedFeedForward(dim, settings.feed_forward * dim)
        self.head_dim = head_dim

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, S, h, w, dim) to the same shape."""
        batch, frames, rows, columns, _ = x.shape
        in_time = rearrange(self.norms[0](x), "b s h w d -> (b h w) s d")
        in_time = self.time(in_time, angles=rotary_angles(frames, self.head_dim, x.device))
        x = x + rearrange(in_time, "(b h w) s d -> b s h w d", b=batch, h=rows)
        in_space = rearrange(self.norms[1](x), "b s h w d -> (b s) (h w) d")
        angles = axial_angles(rows, columns, self.head_dim, x.device)
        in_space = self.space(in_space, angles=angles)
        x = x + rearrange(in_space, "(b s) (h w) d -> b s h w d", b=batch, h=rows)
        return x + self.feed_forward(self.norms[2](x))


def run_blocks(blocks: nn.ModuleList, x: Tensor, checkpointing: bool) -> Tensor:
    """x through `blocks`, kept or recomputed in the backward pass."""
    for block in blocks:
        if checkpointing and torch.is_grad_enabled():
            x = checkpoint(block, x, use_reentrant=False)
        else:
            x = block(x)
    return x


class PoolLayer(nn.ModuleList):
    """Pre-norm attention and feed-forward on (B, L, dim)."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        dim = settings.dim
        attention = Attention(dim, settings.pool_heads, head_dim=settings.pool_head_dim)
        feed_forward = FeedForward(dim, settings.pool_feed_forward)
        super().__init__([nn.LayerNorm(dim), attention, nn.LayerNorm(dim), feed_forward])

    def forward(self, x: Tensor) -> Tensor:
        norm, attention, norm_ff, feed_forward = self
        x = x + attention(norm(x))
        return x + feed_forward(norm_ff(x))


class Pool(nn.Module):
    """A small transformer with one learned token: (B, L, dim) to (B, dim)."""

    def __init__(self, settings: AutoencoderSettings, length: int) -> None:
        super().__init__()
        dim = settings.dim
        self.mean = settings.pool_mean
        self.token = nn.Parameter(torch.randn(dim) * 0.02)
        self.positions = nn.Parameter(torch.randn(length + 1, dim) * 0.02)
        self.layers = nn.ModuleList(PoolLayer(settings) for _ in range(settings.pool_depth))

    def forward(self, x: Tensor) -> Tensor:
        token = self.token.expand(len(x), 1, -1)
        if self.mean:
            token = token + x.mean(dim=1, keepdim=True)
        x = torch.cat([token, x], dim=1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]


def convolutional_stem(channels: int, dim: int, patch: int) -> nn.Sequential:
    """Frames (B, channels, H, W) to (B, dim, H / patch, W / patch): 8x8 patches, then halvings."""
    halvings = (patch // 8).bit_length() - 1
    widths = [dim >> (halvings - level) for level in range(halvings + 1)]
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 8, stride=8)]
    for width, wider in itertools.pairwise(widths):
        layers += [nn.GELU(), nn.Conv2d(width, wider, 3, stride=2, padding=1)]
    return nn.Sequential(*layers, nn.GELU(), nn.Conv2d(dim, dim, 1))


class TriPlaneEncoder(nn.Module):
    """Video (B, in_channels, S, H, W) to the latent (B, channels, N), in [-1, 1] by tanh."""

    def __init__(self, settings: AutoencoderSettings, in_channels: int = 3) -> None:
        super().__init__()
        dim, planes = settings.dim, settings.planes
        self.settings = settings
        if settings.stem == "linear":
            self.stem: nn.Module = nn.Conv2d(in_channels, dim, settings.patch, settings.patch)
        else:
            self.stem = convolutional_stem(in_channels, dim, settings.patch)
        self.blocks = nn.ModuleList(SpaceTimeBlock(settings) for _ in range(settings.depth))
        lengths = (planes.frames, planes.width, planes.height)
        self.pools = nn.ModuleList(Pool(settings, length) for length in lengths)
        # The norm keeps the tanh from saturating: without it the planes become constants.
        self.to_plane = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, settings.channels)) for _ in range(3)
        )

    def forward(self, video: Tensor) -> Tensor:
        frames = rearrange(video, "b c s h w -> (b s) c h w")
        tokens = rearrange(self.stem(frames), "(b s) d h w -> b s h w d", b=len(video))
        tokens = run_blocks(self.blocks, tokens, self.settings.checkpointing)
        views = ("b s h w d -> b h w s d", "b s h w d -> b s h w d", "b s h w d -> b s w h d")
        hw, sh, sw = (self.pool(index, rearrange(tokens, view)) for index, view in enumerate(views))
        return PlaneShape.join(hw, sh, sw)

    def pool(self, index: int, tokens: Tensor) -> Tensor:
        """Tokens (B, rows, columns, L, dim) to one plane (B, channels, rows, columns)."""
        batch, rows = tokens.shape[:2]
        pooled = self.to_plane[index](self.pools[index](tokens.flatten(0, 2)))
        return rearrange(pooled, "(b r k) c -> b c r k", b=batch, r=rows).tanh()


class PlaneVolume(nn.Module):
    """Latent (B, channels, N) to a feature volume (B, dim, S, h, w): planes projected and summed."""

    def __init__(self, planes: PlaneShape, channels: int, dim: int) -> None:
        super().__init__()
        self.planes = planes
        self.from_plane = nn.ModuleList(nn.Conv2d(channels, dim, 1) for _ in range(3))

    def forward(self, latent: Tensor) -> Tensor:
        planes = self.planes.split(latent)
        hw, sh, sw = (
            project(plane) for project, plane in zip(self.from_plane, planes, strict=True)
        )
        return PlaneShape.volume(hw, sh, sw)


class TriPlaneDecoder(nn.Module):
    """Latent (B, channels, N) to video (B, 3, S, H, W) in [-1, 1], as in PVDM."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.volume = PlaneVolume(settings.planes, settings.channels, settings.dim)
        self.blocks = nn.ModuleList(SpaceTimeBlock(settings) for _ in range(settings.depth))
        self.to_pixels = nn.ConvTranspose2d(settings.dim, 3, settings.patch, settings.patch)

    def forward(
        self,
        latent: Tensor,
        pose_frames: Tensor | None = None,
        identity_frames: Tensor | None = None,
        landmark_video: Tensor | None = None,
    ) -> Tensor:
        """The pictures are not looked at: this decoder is symmetric."""
        tokens = rearrange(self.volume(latent), "b d s h w -> b s h w d")
        tokens = run_blocks(self.blocks, tokens, self.settings.checkpointing)
        pixels = self.to_pixels(rearrange(tokens, "b s h w d -> (b s) d h w"))
        return rearrange(pixels.tanh(), "(b s) c h w -> b c s h w", b=len(latent))


class TriPlaneAutoencoder(nn.Module):
    """Encoder and decoder, plain or asymmetric by `settings.decoder`."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        from mtov.asymmetric import AsymmetricDecoder

        self.settings = settings
        self.encoder = TriPlaneEncoder(settings)
        kind = AsymmetricDecoder if settings.decoder == "asymmetric" else TriPlaneDecoder
        self.decoder = kind(settings)

    @property
    def planes(self) -> PlaneShape:
        """Shape of the latent's planes."""
        return self.settings.planes

    def encode(self, video: Tensor) -> Tensor:
        """Video (B, 3, S, H, W) to its latent (B, channels, N)."""
        return self.encoder(video)

    def decode(
        self,
        latent: Tensor,
        pose_frames: Tensor | None = None,
        identity_frames: Tensor | None = None,
        landmark_video: Tensor | None = None,
    ) -> Tensor:
        """Latent to video (B, 3, S, H, W); the asymmetric decoder needs the pictures too."""
        return self.decoder(latent, pose_frames, identity_frames, landmark_video)
