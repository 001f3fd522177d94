"""The command line: help, options and errors, without any network."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from moditalker import cli
from moditalker.errors import WeightsError
from moditalker.parsing import make_parser


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on standard error, which must be one line."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_help_needs_no_heavy_package() -> None:
    check = (
        "import sys, resource, moditalker.cli as cli\n"
        "try: cli.main(['generate', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'scipy', 'av', 'hydra'} & set(sys.modules)\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_utime < 1\n"
    )
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "--lip-scale" in ran.stdout and "--no-silence-gate" in ran.stdout


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_option_is_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    function = cli.COMMANDS[command]
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for name in inspect.signature(function).parameters:
        assert f"{name}: " in (function.__doc__ or "")
        assert name.replace("_", "-") in shown
    assert "<class" not in shown and "type:" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a command: generate"),
        (["talk"], "invalid choice: 'talk'"),
        (["generate"], "--audio is missing"),
        (["prepare", "clips"], "--out is missing"),
        (["generate", "--audio", "a.wav", "--vidoe", "b.mp4"], "--vidoe"),
        (["generate", "--audio", "a.wav", "--video"], "--video: expected one argument"),
        (["generate", "--audio", "a.wav", "--seed", "x"], "--seed is 'x'; it must be a whole"),
        (["generate", "--audio", "a.wav", "--smooth", "x"], "--smooth is 'x'; it must be a number"),
        (["generate", "--audio", "a.wav", "--device", "gpu"], "one of auto, cuda, mps, cpu"),
        (["landmarks", "--audio", "a.wav", "--space", "3d"], "one of frontal, image"),
    ],
)
def test_a_wrong_option_is_one_line_and_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert message in line_of(capsys)


def test_options_have_the_names_and_types_of_the_function() -> None:
    words = "--audio a.wav --out=x=y.mp4 --crop-only --no-silence-gate --lip-scale 2 mtov.steps=3"
    parser = make_parser(cli.COMMANDS, name="moditalker", about="", version="")
    given = parser.parse_args(["generate", *words.split()]).generate.as_dict()
    assert set(given) == set(inspect.signature(cli.generate).parameters)
    assert given["out"] == Path("x=y.mp4") and given["crop_only"] and not given["silence_gate"]
    assert given["lip_scale"] == 2.0 and given["overrides"] == ["mtov.steps=3"]
    assert given["quiet"] is False and given["preset"] is None


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            WeightsError("unet.safetensors\nis damaged"),
            2,
            "moditalker: unet.safetensors is damaged",
        ),
        (ValueError("no such thing"), 1, "ValueError: no such thing. This is a fault"),
        (KeyboardInterrupt(), 130, "moditalker: interrupted."),
    ],
)
def test_errors_are_one_line_without_a_traceback(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "run", lambda words: raised(error))
    assert cli.main(["generate"]) == code
    assert message in line_of(capsys)


def test_debug_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "run", lambda words: raised(ValueError("here")))
    assert cli.main(["generate", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def raised(error: BaseException) -> None:
    """Raise in a place where a statement is no expression."""
    raise error
