"""Bundles of weights, and the networks that come out of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from moditalker.bundle import read_config, save_network, write_config
from moditalker.errors import OutputError, SettingsError, WeightsError
from moditalker.presets import PRESETS, Networks, load_networks


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_networks("debug")


@pytest.fixture
def bundle(networks: Networks, tmp_path: Path) -> Path:
    """A whole bundle of preset debug."""
    statistics, diffusion = asdict(networks.statistics), networks.atom_diffusion.settings
    save_network(
        tmp_path, "atom", networks.atom.state_dict(), asdict(networks.atom.settings),
        statistics=statistics, diffusion=asdict(diffusion), speech_encoder="whisper-tiny.en",
    )  # fmt: skip
    sizes = asdict(networks.autoencoder.settings)
    save_network(tmp_path, "autoencoder", networks.autoencoder.state_dict(), sizes)
    save_network(tmp_path, "landmark_encoder", networks.landmark_encoder.state_dict(), sizes)
    save_network(
        tmp_path, "unet", networks.unet.state_dict(), asdict(networks.unet.settings),
        diffusion=asdict(networks.mtov_diffusion.settings),
    )  # fmt: skip
    write_config(tmp_path, {**read_config(tmp_path), "preset": "debug"})
    return tmp_path


def test_what_was_saved_comes_back_to_half_precision(networks: Networks, bundle: Path) -> None:
    loaded = load_networks(weights=bundle)
    assert loaded.preset == "debug" and loaded.statistics == networks.statistics
    for name in ("atom", "autoencoder", "landmark_encoder", "unet"):
        saved, back = getattr(networks, name).state_dict(), getattr(loaded, name).state_dict()
        for key, tensor in saved.items():
            assert back[key].dtype == tensor.dtype
            torch.testing.assert_close(back[key], tensor, rtol=1e-3, atol=1e-4)


def test_a_folder_may_stand_for_the_preset(bundle: Path) -> None:
    assert load_networks(bundle).preset == "debug"


def remove(bundle: Path) -> None:
    (bundle / "unet.safetensors").unlink()


def cut_off(bundle: Path) -> None:
    path = bundle / "unet.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def flip(bundle: Path) -> None:
    path = bundle / "unet.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_off_unchecked(bundle: Path) -> None:
    cut_off(bundle)
    change(bundle, lambda config: config.pop("sha256"))


def other_sizes(bundle: Path) -> None:
    change(bundle, lambda config: config["mtov"]["unet"].update(base=32))


def no_statistics(bundle: Path) -> None:
    change(bundle, lambda config: config["atom"].pop("statistics"))


def half_json(bundle: Path) -> None:
    (bundle / "config.json").write_text('{"format": 1,')


def change(bundle: Path, edit: Callable[[dict], object]) -> None:
    config = json.loads((bundle / "config.json").read_text())
    edit(config)
    (bundle / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove, "unet.safetensors is missing"),
        (cut_off, "unet.safetensors is damaged"),
        (cut_off_unchecked, "unet.safetensors is damaged"),
        (flip, "checksum"),
        (other_sizes, "does not fit the preset"),
        (no_statistics, "lacks atom.statistics"),
        (half_json, "config.json is damaged"),
    ],
)
def test_a_spoilt_bundle_is_refused_in_one_line(
    bundle: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(bundle)
    with pytest.raises(WeightsError) as raised:
        load_networks(weights=bundle)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_weights_for_another_preset_are_refused(bundle: Path) -> None:
    with pytest.raises(WeightsError, match="is for preset debug, not paper"):
        load_networks("paper", bundle)


def test_presets_without_weights_and_unknown_ones_say_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="paper has no weights in the package"):
        load_networks("paper")
    with pytest.raises(SettingsError, match="no preset 'lit'"):
        load_networks("lit")
    with pytest.raises(WeightsError, match=r"no bundle: it has no config.json"):
        load_networks(weights=tmp_path)


def test_debug_is_the_same_every_time(networks: Networks) -> None:
    again = load_networks("debug")
    for name, tensor in networks.unet.state_dict().items():
        assert torch.equal(tensor, again.unet.state_dict()[name])


def test_the_presets_agree_within_themselves() -> None:
    for preset in PRESETS.values():
        planes, latent = preset.unet.planes, preset.autoencoder.planes
        assert (planes.frames, planes.height, planes.width) == (
            latent.frames, latent.height, latent.width,
        )  # fmt: skip


def test_a_bundle_that_cannot_be_written_is_one_line(tmp_path: Path, networks: Networks) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_config(tmp_path / "file" / "bundle", {"format": 1})
