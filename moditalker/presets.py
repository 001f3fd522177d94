"""The three presets (DESIGN §7), and the networks of a preset or of a bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from atom.model import AToM, AToMSettings
from atom.statistics import Statistics
from moditalker.bundle import check_bundle, load_weights, read_config
from moditalker.diffusion import Diffusion, DiffusionSettings
from moditalker.errors import SettingsError, WeightsError
from moditalker.landmarks import mean_face
from moditalker.speech.base import WHISPER
from mtov.autoencoder import AutoencoderSettings, TriPlaneAutoencoder, TriPlaneEncoder
from mtov.landmark_video import Style
from mtov.networks import load_autoencoder, load_landmark_encoder, load_unet, settings_from
from mtov.unet import UNet, UNetSettings

DEFAULT = "lite"
BUNDLES = Path(__file__).parent / "assets" / "bundles"
COSINE = DiffusionSettings(schedule="cosine")
LINEAR = DiffusionSettings(schedule="scaled_linear")


@dataclass(frozen=True)
class Preset:
    """Sizes of all networks."""

    atom: AToMSettings
    autoencoder: AutoencoderSettings
    unet: UNetSettings
    atom_diffusion: DiffusionSettings = COSINE
    mtov_diffusion: DiffusionSettings = LINEAR
    speech_encoder: str = WHISPER
    landmark_style: Style = "contours"
    guidance: float = 2.0
    residual_scale: float = 10.0


PRESETS: dict[str, Preset] = {
    "paper": Preset(
        atom=AToMSettings(), autoencoder=AutoencoderSettings(), unet=UNetSettings(),
        speech_encoder="facebook/hubert-large-ls960-ft", landmark_style="dots",
    ),
    "lite": Preset(
        atom=AToMSettings(
            speech_dim=768, dim=192, heads=6, feed_forward=384, blocks=4, window=100,
            aligned_speech=True,
        ),
        autoencoder=AutoencoderSettings(
            patch=16, dim=192, depth=4, heads=3, feed_forward=2, pool_depth=1,
            pool_feed_forward=384, pool_mean=True, stem="convolutional", decoder="asymmetric",
            decoder_landmarks=True,
        ),
        unet=UNetSettings(
            height=16, width=16, base=64, multipliers=(1, 2, 3), blocks=1, heads=4,
            plane_attention=0, positions=True,
        ),
        residual_scale=20.0,
    ),
    "debug": Preset(
        atom=AToMSettings(
            speech_dim=768, dim=32, heads=2, feed_forward=32, encoder_layers=1, blocks=1, window=50,
        ),
        autoencoder=AutoencoderSettings(
            size=64, patch=8, dim=32, depth=1, heads=2, head_dim=16, feed_forward=1, pool_depth=1,
            pool_heads=2, pool_head_dim=16, pool_feed_forward=32, stem="convolutional",
            decoder="asymmetric", decoder_widths=(8, 12, 16),
        ),
        unet=UNetSettings(
            height=8, width=8, base=16, multipliers=(1, 2), blocks=1, heads=2, plane_attention=0
        ),
    ),
}  # fmt: skip


@dataclass
class Networks:
    """All networks of a bundle, in evaluation mode, with what goes with them."""

    preset: str
    atom: AToM
    statistics: Statistics
    atom_diffusion: Diffusion
    autoencoder: TriPlaneAutoencoder
    landmark_encoder: TriPlaneEncoder
    unet: UNet
    mtov_diffusion: Diffusion
    speech_encoder: str
    landmark_style: Style
    guidance: float
    temperature: float = 1.0
    config: dict[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device) -> Networks:
        """Move all networks to a device."""
        for network in (self.atom, self.autoencoder, self.landmark_encoder, self.unet):
            network.to(device)
        return self

    @property
    def size(self) -> int:
        """Side of the generated crop in pixels."""
        return self.autoencoder.settings.size

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return self.autoencoder.settings.frames


def load_networks(preset: str | Path | None = None, weights: str | Path | None = None) -> Networks:
    """The networks of a preset, or of a bundle folder, given as either.

    Without a preset, lite, or what the bundle is for. Raises SettingsError and WeightsError.
    """
    if weights is not None:
        return from_bundle(Path(weights), str(preset) if preset else None)
    name = str(preset or DEFAULT)
    if name not in PRESETS:
        if not Path(name).is_dir():
            raise SettingsError(f"no preset '{name}'. Take {', '.join(PRESETS)}, or a folder.")
        return from_bundle(Path(name))
    if name == "debug":
        return random_networks(name)
    folder = BUNDLES / name
    if not folder.is_dir():
        raise WeightsError(f"preset {name} has no weights in the package. Give --weights FOLDER.")
    return from_bundle(folder, name)


def from_bundle(folder: Path, preset: str | None = None) -> Networks:
    """The networks of a bundle folder; with `preset`, only if it is for that one."""
    config = read_config(folder)
    made_for = config.get("preset", preset or DEFAULT)
    if preset not in (None, made_for):
        raise WeightsError(f"{folder} is for preset {made_for}, not {preset}.")
    check_bundle(folder, config)
    section, conditions = config["atom"], config["mtov"].get("conditions", {})
    network = AToM(settings_from(AToMSettings, section["network"]))
    load_weights(network, folder / "atom.safetensors")
    unet, diffusion = load_unet(folder)
    return Networks(
        preset=made_for,
        atom=network.eval(),
        statistics=settings_from(Statistics, section["statistics"]),
        atom_diffusion=Diffusion(settings_from(DiffusionSettings, section["diffusion"])),
        autoencoder=load_autoencoder(folder),
        landmark_encoder=load_landmark_encoder(folder),
        unet=unet,
        mtov_diffusion=diffusion,
        speech_encoder=section["speech_encoder"],
        landmark_style=conditions.get("landmark_style", "contours"),
        guidance=section.get("guidance", 2.0),
        temperature=section.get("temperature", 1.0),
        config=config,
    )


def random_networks(preset: str, seed: int = 0) -> Networks:
    """A preset with random weights, for tests and for measuring speed."""
    sizes = PRESETS[preset]
    mean = tuple(float(value) for value in mean_face().ravel())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks(
            preset=preset,
            atom=quietened(AToM(sizes.atom)),
            statistics=Statistics(mean, residual_scale=sizes.residual_scale),
            atom_diffusion=Diffusion(sizes.atom_diffusion),
            autoencoder=TriPlaneAutoencoder(sizes.autoencoder).eval(),
            landmark_encoder=TriPlaneEncoder(sizes.autoencoder).eval(),
            unet=UNet(sizes.unet).eval(),
            mtov_diffusion=Diffusion(sizes.mtov_diffusion),
            speech_encoder=sizes.speech_encoder,
            landmark_style=sizes.landmark_style,
            guidance=sizes.guidance,
            config={"preset": preset, "training": "none: random weights"},
        )


def quietened(network: AToM) -> AToM:
    """Random weights whose motion stays small enough to look like a face."""
    with torch.no_grad():
        network.out.weight.mul_(0.2)
    return network.eval()
