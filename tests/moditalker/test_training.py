"""Training from the command line: exact resume, averaged weights, overrides, sweeps, mistakes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from training_toys import ToyModule

from moditalker.training import ResumableSampler, main
from moditalker.training.callbacks import MovingAverage
from moditalker.training.configs import in_full, run_folder, sweep_points

YAML = """
model:
  class_path: training_toys.ToyModule
  init_args: {width: 4}
data:
  class_path: training_toys.ToyData
trainer: {max_steps: 4, accelerator: cpu, val_check_interval: 3, precision: 32-true}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "toy ü.yaml"
    path.write_text(YAML)
    return str(path)


def fit(config: str, run: Path, steps: int, *more: str) -> dict[str, Any]:
    """Train for so many steps in all; the last checkpoint."""
    words = ["fit", "-c", config, f"trainer.max_steps={steps}", "--run", str(run), *more]
    assert main("toy", words) == 0
    return torch.load(run / "last.ckpt", weights_only=True)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_resumed_run_equals_one_that_was_never_stopped(config: str, tmp_path: Path) -> None:
    """Bit for bit: the weights, their moving average, and the optimizer's moments."""
    whole = fit(config, tmp_path / "whole", 10)
    half = fit(config, tmp_path / "halves", 5)
    halves = fit(config, tmp_path / "halves", 10)
    assert half["global_step"] == 5 and halves["global_step"] == whole["global_step"] == 10
    assert same(whole["current_model_state"], halves["current_model_state"])
    assert same(whole["state_dict"], halves["state_dict"])
    moments = [run["optimizer_states"][0]["state"][0] for run in (whole, halves)]
    assert same(*moments)
    assert not same(whole["state_dict"], half["state_dict"])


def test_a_run_that_was_killed_goes_on_from_the_last_regular_checkpoint(
    config: str, tmp_path: Path
) -> None:
    """The checkpoint of a step in the middle, not that of an orderly end."""
    whole = fit(config, tmp_path / "whole", 7)
    killed = tmp_path / "killed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moditalker.training.callbacks.EndCheckpoint.on_train_end", lambda *_: None)
        middle = fit(config, killed, 5, "--save_steps", "4")
    assert middle["global_step"] == 4
    assert same(whole["state_dict"], fit(config, killed, 7)["state_dict"])


def test_fresh_begins_anew(config: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(config, tmp_path, 2)
    fit(config, tmp_path, 3, "--fresh")
    assert "going on" not in capfd.readouterr().err
    fit(config, tmp_path, 4)
    assert "going on" in capfd.readouterr().err


def test_time_limit_stops_and_keeps_a_checkpoint(config: str, tmp_path: Path) -> None:
    last = fit(config, tmp_path, 10**9, "trainer.max_time='00:00:00:01'")
    assert 0 < last["global_step"] < 10**9


def test_logs_hold_losses_of_every_start(
    config: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fit(config, tmp_path, 4, "trainer.log_every_n_steps=1")
    fit(config, tmp_path, 6, "trainer.log_every_n_steps=1")
    steps = []
    for path in sorted((tmp_path / "log").glob("metrics*.csv"), reverse=True):
        with path.open(newline="") as file:
            steps += [int(row["step"]) for row in csv.DictReader(file) if row["train_loss"]]
    assert sorted(steps) == [0, 1, 2, 3, 4, 5]
    assert list((tmp_path / "log").glob("events.out.tfevents*"))
    log = capfd.readouterr().err
    assert "steps/s" in log and "loss" in log and "left" in log and "validation" in log


def test_average_follows_the_weights_and_then_slows_down() -> None:
    average = MovingAverage(decay=0.99)
    old, new = torch.zeros(1), torch.ones(1)
    assert average.average(old, new, 1).item() == pytest.approx(9 / 11)
    assert average.average(old, new, 10**6).item() == pytest.approx(0.01)
    assert average.average(torch.tensor(3), torch.tensor(4), 1).item() == 4


def test_validate_and_test_read_the_averaged_weights(
    config: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main("toy", ["test", "-c", config, "--run", str(tmp_path)]) == 2
    assert "no checkpoint" in capfd.readouterr().err
    fit(config, tmp_path, 2)
    for command in ("validate", "test"):
        assert main("toy", [command, "-c", config, "--run", str(tmp_path)]) == 0
    assert "test_loss" in capfd.readouterr().out


def test_sweep_trains_every_combination(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "-c", config, "data.batch_size=2,3", "model.width=2,5", "trainer.max_steps=1"]
    assert main("toy", words) == 0
    widths = [
        len(torch.load(path, weights_only=True)["state_dict"]["net.0.bias"])
        for path in sorted(tmp_path.glob("runs/**/last.ckpt"))
    ]
    assert sorted(widths) == [2, 2, 5, 5]


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("data.batch_sise=3", "batch_sise"),
        ("model.width=wide", "width"),
        ("trainer.max_stepz=1", "max_stepz"),
        ("nonsense", "nonsense"),
        ("model.width=[1", "width"),
    ],
)
def test_mistakes_are_one_clear_line(
    config: str, word: str, named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main("toy", ["fit", "-c", config, word]) == 2
    error = capfd.readouterr().err.strip()
    assert named in error and "\n" not in error


def test_a_missing_config_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main("toy", ["fit", "-c", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capfd.readouterr().err


def test_a_missing_extra_is_named(config: str) -> None:
    """In another process, where pytorch-lightning cannot be imported."""
    code = "import sys; sys.modules['pytorch_lightning'] = None; "
    code += (
        f"from moditalker.training import main; sys.exit(main('toy', ['fit', '-c', {config!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "moditalker[train]" in done.stderr


def test_export_writes_averaged_weights(config: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    last = fit(config, tmp_path, 3)
    bundle = tmp_path / "bundle"
    words = ["export", "--checkpoint", str(tmp_path / "last.ckpt"), "--bundle", str(bundle)]
    assert main("toy", words) == 0
    weights = load_file(bundle / "atom.safetensors")
    assert weights.keys() == ToyModule().net.state_dict().keys()
    assert torch.equal(weights["0.bias"], last["state_dict"]["net.0.bias"].half())
    written = json.loads((bundle / "config.json").read_text())["atom"]
    assert written["network"] == {"width": 4} and written["atom_training"] == {"steps": 3}


def test_devices_share_items_without_overlap() -> None:
    class Rank:
        global_step, accumulate_grad_batches, world_size = 3, 2, 2

        def __init__(self, rank: int) -> None:
            self.global_rank = rank

    first, second = (iter(ResumableSampler.of(Rank(rank), 4)) for rank in (0, 1))
    assert [next(first) for _ in range(3)] == [48, 50, 52]
    assert [next(second) for _ in range(3)] == [49, 51, 53]
    assert next(iter(ResumableSampler.of(None, 4))) == 0


def test_keys_and_folders() -> None:
    assert in_full("model.width") == "model.init_args.width"
    assert in_full("model.init_args.width") == "model.init_args.width"
    assert in_full("data.class_path=a.b") == "data.class_path=a.b"
    assert in_full("trainer.max_steps") == "trainer.max_steps"
    assert run_folder(Path("configs/atom/lite.yaml"), []) == "runs/atom/lite"
    assert list(sweep_points(["a=1,2", "b=range(0,2)", "c=x"])) == [
        [f"a={a}", f"b={b}", "c=x"] for a in (1, 2) for b in (0, 1)
    ]
