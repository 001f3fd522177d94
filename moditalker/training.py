"""Training of both stages from the command line: Lightning CLI, exact resume, Hydra sweeps, export.

`python -m atom` and `python -m mtov` are `main` below. A run lives in one folder, `runs/<config>`, and
goes on from its last checkpoint when it is started again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import torch

from moditalker.errors import MissingExtraError, MoDiTalkerError, SettingsError

try:
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
    from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
    from pytorch_lightning.loggers import CSVLogger
except ImportError as error:  # the base install does not train
    raise MissingExtraError("pytorch-lightning", "train") from error

COMMANDS = ("fit", "validate", "test", "sweep", "export")
USAGE = """usage: python -m {name} COMMAND -c CONFIG.yaml [key=value ...] [--option value ...]

  fit       train; goes on from the last checkpoint of the run's folder (--fresh true: does not)
  validate  figures on the people kept out of training
  test      figures on the test folders
  sweep     fit once for each combination: key=1,2,3
  export    --checkpoint FILE --bundle FOLDER: the averaged weights as safetensors

fit --help lists every key."""


class MinuteLog(Callback):
    """One line a minute: step, losses, pace and remaining time."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.last_time, self.last_step = 0.0, 0
        self.sums: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.last_time, self.last_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *unused: Any
    ) -> None:
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train_"):
                self.sums[name] = self.sums.get(name, 0.0) + float(value)
        passed = time.monotonic() - self.last_time
        if passed >= self.seconds:
            self.report(trainer, passed)

    def report(self, trainer: pl.Trainer, passed: float) -> None:
        """Write the line and begin anew."""
        steps = trainer.global_step - self.last_step
        pace = steps / passed
        left = timedelta(seconds=round((trainer.max_steps - trainer.global_step) / max(pace, 1e-9)))
        means = " ".join(f"{k.removeprefix('train_')} {v / steps:.4g}" for k, v in self.sums.items())
        remaining = f", {left} left" if trainer.max_steps > 0 else ""
        tell(f"step {trainer.global_step}: {means}, {pace:.2f} steps/s{remaining}")
        self.last_time, self.last_step, self.sums = time.monotonic(), trainer.global_step, {}

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val_")}
        if found and not trainer.sanity_checking:
            means = " ".join(f"{k.removeprefix('val_')} {v:.4g}" for k, v in found.items())
            tell(f"step {trainer.global_step}: validation {means}")


def tell(line: str) -> None:
    """A line of the log, with the time of day, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


class ResumingTrainer(pl.Trainer):
    """A trainer whose `fit` goes on from `last.ckpt` in its folder."""

    fresh = False

    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = True,
    ) -> None:
        """As pl.Trainer.fit; checkpoints are read as plain tensors, never as pickled code."""
        last = Path(self.default_root_dir) / "last.ckpt"
        if ckpt_path is None and last.exists() and not self.fresh:
            tell(f"going on from {last}")
            ckpt_path = str(last)
        super().fit(
            model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, weights_only
        )
        self.save_checkpoint(last)


class TrainingCLI(LightningCLI):
    """Adds the run's folder, the moving average and the rhythm of checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=str, default="runs/run", help="folder of the run")
        parser.add_argument("--fresh", type=bool, default=False, help="ignore earlier checkpoints")
        parser.add_argument("--ema_decay", type=float, default=0.9999, help="of the averaged weights")
        parser.add_argument("--save_steps", type=int, default=1000, help="steps between checkpoints")
        parser.add_argument("--save_minutes", type=float, default=5.0, help="and minutes")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        run = Path(str(self._get(self.config, "run")))
        every = timedelta(minutes=float(self._get(self.config, "save_minutes") or 5.0))
        steps = int(self._get(self.config, "save_steps") or 1000)
        checkpoint = {"dirpath": run, "save_top_k": 0, "save_last": True}
        callbacks = [
            MinuteLog(),
            EMAWeightAveraging(decay=float(self._get(self.config, "ema_decay") or 0.9999)),
            ModelCheckpoint(**checkpoint, every_n_train_steps=steps),
            TimedCheckpoint(**checkpoint, train_time_interval=every),
        ]
        trainer = super().instantiate_trainer(
            default_root_dir=str(run), logger=loggers(run), callbacks=callbacks, **kwargs
        )
        trainer.fresh = bool(self._get(self.config, "fresh"))
        return trainer


class TimedCheckpoint(ModelCheckpoint):
    """Checkpoints by the clock; another class, so that both keep their own state."""


def loggers(run: Path) -> list[Any]:
    """CSV always; TensorBoard where it is installed."""
    found: list[Any] = [CSVLogger(run, name="", version="log")]
    try:
        from pytorch_lightning.loggers import TensorBoardLogger

        found.append(TensorBoardLogger(run, name="", version="log"))
    except ImportError:
        pass
    return found


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
        "precision": "bf16-mixed" if fast_brain_floats() else "32-true",
    }


def fast_brain_floats() -> bool:
    """Whether bfloat16 is faster here: on CUDA, and on CPUs with AMX or AVX512-BF16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    flags = Path("/proc/cpuinfo")
    text = flags.read_text() if flags.exists() else ""
    return "amx_bf16" in text or "avx512_bf16" in text


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """`python -m atom` and `python -m mtov`. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        print(USAGE.format(name=name))
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        run_command(arguments[0], arguments[1:])
    except MoDiTalkerError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run_command(command: str, arguments: list[str]) -> None:
    """One command with the arguments after it."""
    if command == "export":
        options = dict(zip(arguments[::2], arguments[1::2], strict=False))
        if set(options) != {"--checkpoint", "--bundle"}:
            raise SettingsError("export takes --checkpoint FILE --bundle FOLDER.")
        path = export(options["--checkpoint"], options["--bundle"])
        print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")
        return
    config, overrides, options = split_arguments(arguments)
    if config is None:
        TrainingCLI(
            trainer_class=ResumingTrainer,
            trainer_defaults=defaults(),
            args=[command, *options],
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
        )
        return
    for point in sweep_points(overrides) if command == "sweep" else [overrides]:
        run_config("fit" if command == "sweep" else command, config, point, options)


def split_arguments(arguments: list[str]) -> tuple[Path | None, list[str], list[str]]:
    """The config, Hydra's key=value overrides, and the options of jsonargparse."""
    config, overrides, options = None, [], []
    rest = iter(arguments)
    for argument in rest:
        if argument in ("-c", "--config"):
            config = Path(next(rest, ""))
        elif "=" in argument and not argument.startswith("-") and not options[-1:] == ["--"]:
            overrides.append(argument)
        else:
            options.append(argument)
            if argument.startswith("--") and "=" not in argument:
                options.extend(value for value in [next(rest, None)] if value is not None)
    if config is not None and not config.is_file():
        raise SettingsError(f"no config at {config}.")
    return config, overrides, options


def sweep_points(overrides: list[str]) -> Iterator[list[str]]:
    """All combinations of overrides such as key=1,2 or key=range(1,4), by Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = [
        [f"{one.key_or_group}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [one.input_line or ""]
        for one in parsed
    ]
    return (list(point) for point in product(*choices))


def run_config(command: str, config: Path, overrides: list[str], options: list[str]) -> None:
    """Compose a YAML with Hydra and hand the plain values to Lightning's CLI, which checks them."""
    values = composed(config, [in_full(override) for override in overrides])
    values.setdefault("run", run_folder(config, overrides))
    for option, value in zip(options[::2], options[1::2], strict=False):
        place(values, in_full(option.removeprefix("--")), value)
    TrainingCLI(
        trainer_class=ResumingTrainer,
        trainer_defaults=defaults(),
        args={"subcommand": command, command: values},
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        parser_kwargs={"exit_on_error": False},
    )


def composed(config: Path, overrides: list[str]) -> dict[str, Any]:
    """The YAML under Hydra's overrides, as plain values. Raises SettingsError."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    try:
        with initialize_config_dir(str(config.resolve().parent), version_base=None):
            return OmegaConf.to_container(compose(config.stem, overrides), resolve=True)  # type: ignore[return-value]
    except HydraException as error:
        raise SettingsError(" ".join(str(error).split())) from error


def in_full(key: str) -> str:
    """`model.x` and `data.x` name what Lightning's YAML calls `model.init_args.x`."""
    head, _, rest = key.partition(".")
    bare = head.lstrip("+~")
    if bare in ("model", "data") and rest and rest.split(".")[0] not in ("class_path", "init_args"):
        return f"{head}.init_args.{rest}"
    return key


def place(values: dict[str, Any], key: str, text: str) -> None:
    """Put a value, given as YAML text, at a dotted key."""
    import yaml

    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
    values[last] = yaml.safe_load(text)


def run_folder(config: Path, overrides: list[str]) -> str:
    """`runs/atom/lite` for configs/atom/lite.yaml; overrides that were swept are appended."""
    parts = config.resolve().with_suffix("").parts
    after = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    return "/".join(["runs", *after, *(override.replace("/", "-") for override in overrides)])


def export(checkpoint: str | Path, bundle: str | Path) -> Path:
    """Put the averaged weights of a checkpoint into a bundle. Returns the safetensors file."""
    from moditalker.bundle import save_network

    path = Path(checkpoint)
    if not path.is_file():
        raise SettingsError(f"no checkpoint at {path}.")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if "export" not in content:
        raise SettingsError(f"{path} was not made by fit of this project.")
    note, state = content["export"], content["state_dict"]
    prefix = note["prefix"]
    kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    training = {"steps": int(content["global_step"])}
    more = {**note["more"], f"{note['name']}_training": training}
    return save_network(bundle, note["name"], kept, note["section"], **more)
