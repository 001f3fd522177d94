"""Settings of generation: the one schema for the command line's key=value and for Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from moditalker.errors import SettingsError


@dataclass
class AToMSampling:
    """How motion is drawn from speech."""

    steps: int = 10
    "Network evaluations."
    guidance: float | None = None
    "Classifier-free guidance; null: what the bundle was made for, 1: none."
    temperature: float | None = None
    "Scale of the first noise: less variety below 1; null: what the bundle was made for."
    sampler: str = "dpm-solver++"
    "dpm-solver++, unipc or ddim."
    overlap: float = 0.5
    "Part of a window that its neighbour shares."
    batch: int = 8
    "Windows in one pass."
    mode: str = "joint"
    "joint (windows denoised together) or last_frame (one after the other)."


@dataclass
class MToVSampling:
    """How frames are drawn from motion."""

    steps: int = 12
    "Network evaluations per clip."
    sampler: str = "dpm-solver++"
    "dpm-solver++, unipc or ddim."
    batch: int = 2
    "Clips in one pass."
    overlap: int = 2
    "Frames that neighbouring clips share and blend."


@dataclass
class Composite:
    """How the generated face is put into the frame."""

    colour_match: bool = True
    "Match the generated colours to the skin around."
    keep_texture: bool = True
    "Take the frame's own fine texture where the generated face agrees with it."


@dataclass
class GenerateSettings:
    """Everything that key=value can change."""

    atom: AToMSampling = field(default_factory=AToMSampling)
    mtov: MToVSampling = field(default_factory=MToVSampling)
    composite: Composite = field(default_factory=Composite)


SAMPLERS = ("dpm-solver++", "unipc", "ddim")
CHOICES = {
    "atom.sampler": SAMPLERS,
    "mtov.sampler": SAMPLERS,
    "atom.mode": ("joint", "last_frame"),
}
LEAST = {
    "atom.steps": 1,
    "atom.batch": 1,
    "atom.overlap": 0,
    "atom.temperature": 0,
    "mtov.steps": 1,
    "mtov.batch": 1,
    "mtov.overlap": 0,
}


def compose_settings(overrides: Sequence[str] = ()) -> GenerateSettings:
    """Settings under Hydra's overrides, such as `mtov.steps=8`. Raises SettingsError."""
    if not overrides:
        return GenerateSettings()
    from hydra import compose, initialize
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_keys(overrides)
    ConfigStore.instance().store("moditalker_generate", node=GenerateSettings)
    try:
        with initialize(version_base=None):
            config = compose("moditalker_generate", list(overrides))
        settings: Any = OmegaConf.to_object(config)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise SettingsError(f"{' '.join(overrides)}: {reason}") from error
    check_values(settings)
    return settings


def known_keys() -> list[str]:
    """All keys, dotted."""
    settings = GenerateSettings()
    return [f"{part}.{key}" for part in vars(settings) for key in vars(getattr(settings, part))]


def check_keys(overrides: Sequence[str]) -> None:
    """SettingsError for a key that does not exist, with those that look like it."""
    known = known_keys()
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key not in known:
            near = get_close_matches(key, known, n=2) or known
            raise SettingsError(f"no setting '{key}'. Is it {' or '.join(near[:6])}?")


def check_values(settings: GenerateSettings) -> None:
    """SettingsError for a value out of range."""
    for key in known_keys():
        part, name = key.split(".")
        value = getattr(getattr(settings, part), name)
        if key in CHOICES and value not in CHOICES[key]:
            raise SettingsError(f"{key} is '{value}'. Take {', '.join(CHOICES[key])}.")
        if key in LEAST and value is not None and value < LEAST[key]:
            raise SettingsError(f"{key} is {value}; the least is {LEAST[key]}.")
    if not settings.atom.overlap < 1:
        raise SettingsError(f"atom.overlap is {settings.atom.overlap}; it must be below 1.")
    if settings.mtov.overlap > 8:
        raise SettingsError(f"mtov.overlap is {settings.mtov.overlap}; the most is 8.")
