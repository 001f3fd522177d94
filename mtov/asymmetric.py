"""The asymmetric decoder: it sees the pose frames and the identity frames at every scale.

After the asymmetric autoencoder for inpainting (arXiv 2306.04632). The latent then carries the
mouth and its motion; texture comes from the pictures. The network draws its corrections onto
the two pictures put together, so that skin that is already right stays sharp.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn

if TYPE_CHECKING:
    from mtov.autoencoder import AutoencoderSettings


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions on (B, width, H, W), residual.

    Without normalisation (EDSR, arXiv 1707.02921), so that a window of a frame is drawn exactly as
    within the whole frame, and training may look at windows. It starts as the identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(
            nn.LeakyReLU(0.1), nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.1), last
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ContextEncoder(nn.Module):
    """Pictures (B, channels, H, W) to features at 1/2, 1/4, ... of the size."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        first = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        self.open = nn.Sequential(nn.PixelUnshuffle(2), first)
        self.down = nn.ModuleList(
            nn.Sequential(nn.LeakyReLU(0.1), nn.Conv2d(fine, coarse, 3, stride=2, padding=1))
            for fine, coarse in itertools.pairwise(widths)
        )

    def forward(self, context: Tensor) -> list[Tensor]:
        features = [self.open(context)]
        for down in self.down:
            features.append(down(features[-1]))
        return features


class AsymmetricDecoder(nn.Module):
    """Latent, pose frames and identity frames to video (B, 3, S, H, W), about [-1, 1]."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        from mtov.autoencoder import PlaneVolume

        widths = settings.decoder_widths
        self.volume = PlaneVolume(settings.planes, settings.channels, widths[-1])
        self.sees_landmarks = settings.decoder_landmarks
        self.context = ContextEncoder(9 if self.sees_landmarks else 6, widths)
        self.middle = nn.Sequential(ResidualBlock(widths[-1]), ResidualBlock(widths[-1]))
        coarse_to_fine = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(c, f, 1) for c, f in coarse_to_fine)
        self.refine = nn.ModuleList(ResidualBlock(f) for _, f in coarse_to_fine)
        last = nn.Conv2d(widths[0], 4 * 3, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.to_pixels = nn.Sequential(nn.LeakyReLU(0.1), last, nn.PixelShuffle(2))

    def forward(
        self,
        latent: Tensor,
        pose_frames: Tensor,
        identity_frames: Tensor,
        landmark_video: Tensor | None = None,
    ) -> Tensor:
        """Frames are (B, 3, S, H, W), as many as the latent has."""
        pictures = self.pictures(pose_frames, identity_frames, landmark_video)
        return self.render(self.volume(latent), pictures)

    def pictures(self, pose: Tensor, identity: Tensor, landmarks: Tensor | None) -> Tensor:
        """All that the decoder sees beside the latent, by channel: (B, 6 or 9, S, H, W)."""
        if not self.sees_landmarks:
            return torch.cat([pose, identity], dim=1)
        return torch.cat(
            [pose, identity, -torch.ones_like(pose) if landmarks is None else landmarks], 1
        )

    def render(self, volume: Tensor, pictures: Tensor) -> Tensor:
        """A volume (B, dim, S, h, w), or some frames or a window of one, to video (B, 3, S, H, W)."""
        batch = len(volume)
        seen, coarse = (rearrange(x, "b c s h w -> (b s) c h w") for x in (pictures, volume))
        pose, identity = seen[:, :3], seen[:, 3:6]
        skips = self.context(seen)
        x = self.middle(coarse + skips.pop())
        for narrow, refine in zip(self.narrow, self.refine, strict=True):
            x = nn.functional.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = refine(x + skips.pop())
        pixels = pasted(pose, identity) + self.to_pixels(x)
        return rearrange(pixels, "(b s) c h w -> b c s h w", b=batch)


def pasted(pose: Tensor, identity: Tensor) -> Tensor:
    """The pose frames where they show anything, the identity frames below: (B, 3, H, W).

    Removed rows of pose frames are 0 (`mtov.conditions.cut_pose_frames`).
    """
    shown = pose.abs().amax(dim=(1, 3), keepdim=True) > 0
    return torch.where(shown, pose, identity)
