"""Lightning's command line with a run folder, exact resume and this project's defaults."""

from __future__ import annotations

import logging
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from moditalker.errors import SettingsError
from moditalker.training.callbacks import (
    LAST,
    EndCheckpoint,
    LastCheckpoint,
    MinuteLog,
    MovingAverage,
    StepSeeds,
    tell,
)

ON_PURPOSE = (
    "LightningCLI's args",
    ".*your dataloader is not resumable",
    ".*does not have many workers",
    ".*isinstance.treespec, LeafSpec",
    "Experiment logs directory",
    "Checkpoint directory",
    "You're using the WeightAveraging callback",
    "Be aware that when using `ckpt_path`",
)


class RunTrainer(pl.Trainer):
    """A trainer that reads `last.ckpt` of its run, as plain tensors and never as pickled code."""

    fresh = False

    @property
    def last(self) -> Path:
        """The run's last checkpoint."""
        return Path(self.default_root_dir) / LAST

    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = True,
    ) -> None:
        """Train; goes on from the run's last checkpoint."""
        if ckpt_path is None and self.last.exists() and not self.fresh:
            tell(f"going on from {self.last} (--fresh true begins anew)")
            ckpt_path = str(self.last)
        loaders = train_dataloaders, val_dataloaders
        super().fit(model, *loaders, datamodule, ckpt_path, weights_only)

    def validate(
        self,
        model: Any = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = True,
    ) -> Any:
        """Figures on the people kept out of training, of the averaged weights."""
        ckpt_path = self.trained(ckpt_path)
        return super().validate(model, dataloaders, ckpt_path, verbose, datamodule, weights_only)

    def test(
        self,
        model: Any = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = True,
    ) -> Any:
        """Figures on the test folders, of the averaged weights."""
        ckpt_path = self.trained(ckpt_path)
        return super().test(model, dataloaders, ckpt_path, verbose, datamodule, weights_only)

    def trained(self, ckpt_path: str | None) -> str:
        """The checkpoint to measure. Raises SettingsError where there is none."""
        path = Path(ckpt_path or self.last)
        if not path.is_file():
            raise SettingsError(f"no checkpoint at {path}. Run fit, or give --ckpt_path FILE.")
        return str(path)


class TrainingCLI(LightningCLI):
    """Adds the run's folder, the moving average and the rhythm of checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=str, default="runs/run", help="Folder of the run.")
        parser.add_argument("--fresh", type=bool, default=False, help="Ignore earlier checkpoints.")
        parser.add_argument("--ema_decay", type=float, default=0.9999, help="Of averaged weights.")
        parser.add_argument("--save_steps", type=int, default=1000, help="Between checkpoints.")
        parser.add_argument("--save_minutes", type=float, default=5.0, help="Also between them.")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        run = Path(self._get(self.config, "run"))
        given = self._get(self.config_init, "trainer")
        callbacks = [*as_list(given.get("callbacks")), *self.callbacks(run)]
        logger = loggers(run) if given.get("logger") is None else given["logger"]
        trainer: Any = super().instantiate_trainer(
            default_root_dir=str(run), callbacks=callbacks, logger=logger, **kwargs
        )
        trainer.fresh = self._get(self.config, "fresh")
        return trainer

    def callbacks(self, run: Path) -> list[pl.Callback]:
        """What `fit` needs beside the steps; validation and test need nothing."""
        if self.subcommand != "fit":
            return []
        minutes = self._get(self.config, "save_minutes")
        return [
            MinuteLog(),
            StepSeeds(int(self._get(self.config, "seed_everything"))),
            EndCheckpoint(run),
            MovingAverage(self._get(self.config, "ema_decay")),
            LastCheckpoint(run, every_n_train_steps=self._get(self.config, "save_steps")),
            LastCheckpoint(run, train_time_interval=timedelta(minutes=minutes)),
        ]


def as_list(value: Any) -> list[Any]:
    """Nothing, one, or several, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def loggers(run: Path) -> list[Any]:
    """CSV and TensorBoard, both in the folder `log`; the CSV of an earlier start is kept."""
    log = run / "log"
    if (log / "metrics.csv").exists():  # CSVLogger would delete it
        earlier = len(list(log.glob("metrics*.csv")))
        (log / "metrics.csv").rename(log / f"metrics-{earlier}.csv")
    return [CSVLogger(run, name="", version="log"), TensorBoardLogger(run, name="", version="log")]


def defaults() -> dict[str, Any]:
    """What configs need not say: quiet, one device, brain floats where the machine has them."""
    return {
        "accelerator": "auto",
        "devices": 1,
        "max_epochs": -1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 20,
        "use_distributed_sampler": False,  # ResumableSampler does it
        "precision": "bf16-mixed" if fast_brain_floats() else "32-true",
    }


def fast_brain_floats() -> bool:
    """Whether bfloat16 is fast here: on CUDA from Ampere on, on CPUs with AMX or AVX512-BF16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    text = flags.read_text() if flags.exists() else ""
    return "amx_bf16" in text or "avx512_bf16" in text


def quieten() -> None:
    """No hints of Lightning, and no warnings about what is done here on purpose."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for message in ON_PURPOSE:
        warnings.filterwarnings("ignore", message)


def run_cli(arguments: list[str] | dict[str, Any]) -> TrainingCLI:
    """Parse and run one command. Raises what jsonargparse and the command raise."""
    quieten()
    return TrainingCLI(
        trainer_class=RunTrainer,
        trainer_defaults=defaults(),
        args=arguments,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        parser_kwargs={"exit_on_error": False},
    )
