"""Bundles: a folder with config.json and one .safetensors file per network. No pickle, ever."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moditalker.errors import OutputError, WeightsError

if TYPE_CHECKING:
    import torch
    from torch import nn

FORMAT = 1
# Where each network's sizes stand in config.json.
SECTIONS = {
    "atom": ("atom", "network"),
    "autoencoder": ("mtov", "autoencoder"),
    "landmark_encoder": ("mtov", "landmark_encoder"),
    "unet": ("mtov", "unet"),
}


def read_config(bundle: str | Path) -> dict[str, Any]:
    """config.json of a bundle. Raises WeightsError."""
    path = Path(bundle) / "config.json"
    if not path.exists():
        raise WeightsError(f"{bundle} is no bundle: it has no config.json. Give --weights FOLDER.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    if config.get("format") != FORMAT:
        raise WeightsError(f"{path} has format {config.get('format')}; {FORMAT} can be read.")
    return config


def check_bundle(bundle: str | Path, config: dict[str, Any]) -> None:
    """WeightsError where a bundle lacks a network, or a file is not the one that was saved."""
    for name, (stage, key) in SECTIONS.items():
        path = Path(bundle) / f"{name}.safetensors"
        if not path.exists():
            raise WeightsError(f"{path} is missing. Export that network, or take another bundle.")
        if key not in config.get(stage, {}):
            raise WeightsError(f"{bundle}/config.json lacks {stage}.{key}. Export it again.")
        if config.get("sha256", {}).get(path.name) not in (None, sha256(path)):
            raise WeightsError(f"{path} is damaged: its checksum is not that of config.json.")
    for key in ("statistics", "diffusion", "speech_encoder"):
        if key not in config["atom"]:
            raise WeightsError(f"{bundle}/config.json lacks atom.{key}. Export it again.")


def write_config(bundle: str | Path, config: dict[str, Any]) -> None:
    """Write config.json of a bundle at once: the old one stays until the new one is whole."""
    folder = Path(bundle)
    part = folder / "config.json.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        os.replace(part, folder / "config.json")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Fill `network` from a safetensors file, in the network's own precision.

    Raises WeightsError that names the first tensor that is missing or has another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.exists():
        raise WeightsError(f"{path} is missing. Give a folder with it: --weights FOLDER.")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        found = tuple(tensors[name].shape) if name in tensors else "nothing"
        if found != tuple(tensor.shape):
            raise WeightsError(
                f"{path} does not fit the preset: {name} is {found}, not {tuple(tensor.shape)}."
            )
    network.load_state_dict({name: tensors[name].to(wanted[name].dtype) for name in wanted})


def save_network(
    bundle: str | Path,
    name: str,
    state: dict[str, torch.Tensor],
    section: dict[str, Any],
    dtype: torch.dtype | None = None,
    **more: Any,
) -> Path:
    """Put one network into a bundle: its tensors (half precision by default) and its sizes.

    `section` goes where `SECTIONS` says; `more` holds further entries, merged into the stage's part
    of config.json (`statistics={...}`, `diffusion={...}`). Returns the weights' file.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(bundle)
    config: dict[str, Any] = {"format": FORMAT}
    if (folder / "config.json").exists():
        config = read_config(folder)
    stage, key = SECTIONS[name]
    config.setdefault(stage, {}).update({key: section, **more})
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / f"{name}.safetensors", folder / f".{name}.part"
    kept = {k: half(v, dtype or torch.float16) for k, v in state.items()}
    try:
        save_file(kept, part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    config.setdefault("sha256", {})[path.name] = sha256(path)
    write_config(folder, config)
    return path


def half(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Floating tensors as `dtype`, others as they are; contiguous on the CPU."""
    moved = tensor.detach().cpu()
    return (moved.to(dtype) if moved.is_floating_point() else moved).contiguous()


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
