"""Perceptual losses: LPIPS as the papers use it, and a VGG16 stand-in where LPIPS is out of reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moditalker.errors import MissingExtraError, WeightsError

# VGG16 up to relu3_3: channels of each 3x3 convolution, None for a halving by maximum.
TRUNK = (64, 64, None, 128, 128, None, 256, 256, 256)
TAPS = (1, 4, 8)  # after which entries of TRUNK features are compared: relu1_2, relu2_2, relu3_3
CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red


class VGGFeatures(nn.Module):
    """L1 distance of VGG16 features. This is not LPIPS: its weights are uncalibrated.

    `weights` is a safetensors file with convolutions `0.weight`, `0.bias`, `1.weight`, ... in Caffe's
    convention (BGR, mean removed, 0 to 255).
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from safetensors.torch import load_file

        if not weights.exists():
            raise WeightsError(
                f"no VGG16 weights at {weights}. Give a safetensors file, or 'none'."
            )
        tensors = load_file(weights)
        self.mean: Tensor
        self.layers = nn.ModuleList()
        channels, read = 3, 0
        for wide in TRUNK:
            if wide is None:
                self.layers.append(nn.MaxPool2d(2))
                continue
            convolution = nn.Conv2d(channels, wide, 3, padding=1)
            convolution.load_state_dict(
                {k: tensors[f"{read}.{k}"].float() for k in ("weight", "bias")}
            )
            self.layers.append(convolution)
            channels, read = wide, read + 1
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [-1, 1] to unit-length feature maps."""
        x = (images.flip(1) + 1) * 127.5 - self.mean
        taken = []
        for index, layer in enumerate(self.layers):
            x = layer(x) if isinstance(layer, nn.MaxPool2d) else F.relu(layer(x))
            if index in TAPS:
                taken.append(F.normalize(x, dim=1))
        return taken

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Mean over the taps of the features' L1 distance, summed over channels."""
        pairs = zip(self.features(images), self.features(target), strict=True)
        return torch.stack([(a - b).abs().sum(dim=1).mean() for a, b in pairs]).mean()


class LPIPS(nn.Module):
    """LPIPS (arXiv 1801.03924) by the lpips package, of images (B, 3, H, W) in [-1, 1]."""

    def __init__(self, network: str) -> None:
        super().__init__()
        try:
            import lpips
        except ImportError as error:
            raise MissingExtraError("lpips", "train") from error
        self.distance: Any = lpips.LPIPS(net=network, verbose=False).requires_grad_(False)

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        return self.distance(images, target).mean()


def perceptual_loss(name: str) -> nn.Module | None:
    """`none`, `lpips-alex`, `lpips-vgg`, or the path of a VGG16 trunk for the stand-in."""
    if name == "none":
        return None
    if name.startswith("lpips-"):
        return LPIPS(name.removeprefix("lpips-"))
    return VGGFeatures(Path(name))
