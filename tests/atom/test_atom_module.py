"""AToM from a data set folder to a bundle, as `python -m atom` runs it."""

import json
from pathlib import Path

import pytest
import torch
from atom_samples import DIM, write_data_set

from atom.model import AToM, AToMSettings
from atom.module import AToMModule
from moditalker.bundle import load_weights
from moditalker.training import main
from moditalker.training.configs import compose_config, sort_words

CONFIGS = Path(__file__).parents[2] / "configs" / "atom"
TINY = AToMSettings(
    speech_dim=DIM, dim=32, heads=2, feed_forward=32, encoder_layers=1, blocks=1, window=24,
    dropout=0.0, aligned_speech=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = {"ann-1": 150, "bob-1": 150, "cy-1": 120}
    return write_data_set(tmp_path_factory.mktemp("data"), clips)


def words(folder: Path, run: Path, steps: int) -> list[str]:
    """Arguments of the debug preset for the synthetic data set."""
    model = f"model.network.speech_dim={DIM} model.speech_encoder=test data.speech_encoder=test"
    network = "model.network.window=24 data.frames=24 model.network.aligned_speech=true"
    train = f"model.optimizer=adamw trainer.max_steps={steps} trainer.val_check_interval={steps}"
    return [
        "-c", str(CONFIGS / "debug.yaml"), "--data.folders", f"[{folder}]",
        "--data.validation_people", "[cy]", "--run", str(run), "trainer.accelerator=cpu",
        "trainer.precision=32-true", *model.split(), *network.split(), *train.split(),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a few steps."""
    run = tmp_path_factory.mktemp("run")
    assert main("atom", ["fit", *words(folder, run, 6)]) == 0
    return run


def test_fit_leaves_a_checkpoint_figures_and_pictures(run: Path) -> None:
    logged = "".join(path.read_text() for path in (run / "log").glob("metrics*.csv"))
    assert (run / "last.ckpt").exists()
    assert "val_opening_r" in logged and "val_mouth_lmd" in logged
    assert list(run.rglob("step-0000006.png"))


def test_a_resumed_fit_equals_one_that_was_never_stopped(
    folder: Path, run: Path, tmp_path: Path
) -> None:
    assert main("atom", ["fit", *words(folder, tmp_path, 3)]) == 0
    assert main("atom", ["fit", *words(folder, tmp_path, 6)]) == 0
    first, second = (
        torch.load(place / "last.ckpt", weights_only=True)["state_dict"]
        for place in (run, tmp_path)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_export_makes_a_bundle_that_loads(run: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", str(run / "last.ckpt"), "--bundle", str(tmp_path)]
    assert main("atom", ["export", *options]) == 0
    section = json.loads((tmp_path / "config.json").read_text())["atom"]
    network = AToM(AToMSettings(**section["network"]))
    load_weights(network, tmp_path / "atom.safetensors")
    assert section["speech_encoder"] == "test"
    assert len(section["statistics"]["mean"]) == 204
    assert section["diffusion"]["schedule"] == "cosine"


@pytest.mark.parametrize("command", ["validate", "test"])
def test_figures_of_a_run(
    command: str, folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("atom", [command, *words(folder, run, 6)]) == 0
    assert "opening_r" in capsys.readouterr().out


def test_a_misspelt_key_is_an_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("atom", ["fit", *words(folder, tmp_path, 1), "data.fraems=3"]) == 2
    assert "fraems" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["paper", "lite"])
def test_configs_are_valid_and_lite_is_small(preset: str) -> None:
    values = compose_config(sort_words(["-c", str(CONFIGS / f"{preset}.yaml")]), [])
    settings = AToMSettings(**values["model"]["init_args"].get("network", {}))
    with torch.device("meta"):
        count = sum(p.numel() for p in AToM(settings).parameters())
    assert (5.2e7 < count < 5.8e7) if preset == "paper" else count < 5.5e6


def test_losses_are_those_of_the_paper() -> None:
    module = AToMModule(TINY, loss_weight=7.5, velocity_weight=1.5)
    truth = torch.randn(2, 9, 204, generator=torch.Generator().manual_seed(0))
    moved = module.losses(truth + 0.1, truth)  # a constant error has no velocity
    assert moved["position"].item() == pytest.approx(0.01, rel=1e-4)
    assert moved["velocity"].item() == pytest.approx(0, abs=1e-9)
    assert moved["loss"].item() == pytest.approx(0.075, rel=1e-4)


def test_mouth_weight_counts_errors_of_the_mouth_more() -> None:
    module = AToMModule(TINY, mouth_weight=3.0)
    truth = torch.zeros(1, 4, 68, 3)
    brow, lip = truth.clone(), truth.clone()
    brow[:, :, 20] = lip[:, :, 62] = 0.1
    losses = [module.losses(x.flatten(2), truth.flatten(2))["position"] for x in (brow, lip)]
    assert losses[1] == pytest.approx(3 * losses[0].item(), rel=1e-4)


def test_rate_rises_and_falls() -> None:
    module = AToMModule(TINY, warm_up=10, decay_steps=100)
    rates = [module.rate_factor(step) for step in (0, 9, 50, 100, 500)]
    assert rates[0] == pytest.approx(0.1, abs=0.01) and rates[1] == pytest.approx(1, abs=0.05)
    assert rates[1] > rates[2] > rates[3] == pytest.approx(0.05) == rates[4]
