"""MToV's networks out of a bundle of weights."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from moditalker.bundle import load_weights, read_config
from moditalker.diffusion import Diffusion, DiffusionSettings
from mtov.autoencoder import AutoencoderSettings, TriPlaneAutoencoder, TriPlaneEncoder
from mtov.unet import UNet, UNetSettings

Settings = TypeVar("Settings")


def settings_from(kind: type[Settings], section: dict[str, Any]) -> Settings:
    """A frozen settings dataclass from a section of config.json; lists become tuples."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items() if k in known}
    return kind(**values)


def load_autoencoder(bundle: str | Path) -> TriPlaneAutoencoder:
    """The RGB autoencoder of a bundle, in evaluation mode. Raises WeightsError."""
    settings = settings_from(AutoencoderSettings, read_config(bundle)["mtov"]["autoencoder"])
    network = TriPlaneAutoencoder(settings)
    load_weights(network, Path(bundle) / "autoencoder.safetensors")
    return network.eval()


def load_landmark_encoder(bundle: str | Path) -> TriPlaneEncoder:
    """The landmark encoder of a bundle, in evaluation mode. Raises WeightsError."""
    settings = settings_from(AutoencoderSettings, read_config(bundle)["mtov"]["autoencoder"])
    network = TriPlaneEncoder(settings)
    load_weights(network, Path(bundle) / "landmark_encoder.safetensors")
    return network.eval()


def load_unet(bundle: str | Path) -> tuple[UNet, Diffusion]:
    """The U-Net of a bundle, in evaluation mode, and the diffusion it was trained for."""
    section = read_config(bundle)["mtov"]
    network = UNet(settings_from(UNetSettings, section["unet"]))
    load_weights(network, Path(bundle) / "unet.safetensors")
    return network.eval(), Diffusion(settings_from(DiffusionSettings, section["diffusion"]))
