"""The commands themselves, from files to files, with preset debug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from moditalker import MoDiTalker, cli
from moditalker.bundle import read_config, save_network, write_config
from moditalker.media import FrameSource, probe, read_audio, read_metadata
from moditalker.motion import Motion

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "moditalker" / "assets" / "example"
SECONDS = 1.3


def write_sound(path: Path, samples: np.ndarray, rate: int = 48000) -> Path:
    """Samples (N,) at 16 kHz as a sound file of the ending's format, at another rate."""
    codecs = {".m4a": "aac", ".mp3": "libmp3lame", ".wav": "pcm_s16le"}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codecs[path.suffix], rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def write_clip(path: Path, frames: Sequence[np.ndarray], rate: Fraction) -> Path:
    """A silent H.264 clip."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def upright(count: int) -> list[np.ndarray]:
    """The first frames of the example in portrait orientation, (352, 240, 3)."""
    with FrameSource(EXAMPLE / "astronaut.mp4") as source:
        frames = [Image.fromarray(image).resize((352, 352)) for image in source.read(range(count))]
    return [np.asarray(frame)[:, 56:296].copy() for frame in frames]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, whose name is not easy, with good and bad files."""
    folder = tmp_path_factory.mktemp("mit Leerzeichen und Ümläuten")
    speech = read_audio(EXAMPLE / "sentence.flac").samples[8000 : 8000 + int(SECONDS * 16000)]
    write_sound(folder / "speech.m4a", speech)
    write_sound(folder / "speech.mp3", speech, 44100)
    write_sound(folder / "speech.wav", speech, 8000)
    write_sound(folder / "short.wav", speech[:1600])
    write_sound(folder / "silence.wav", 0 * speech)
    (folder / "damaged.mp3").write_bytes(bytes(range(256)) * 40)
    frames = upright(16)
    write_clip(folder / "film.mp4", frames, Fraction(24000, 1001))
    write_clip(folder / "phone.mp4", frames, Fraction(60000, 1001))
    write_clip(folder / "one frame.mp4", frames[:1], Fraction(25))
    wall = [np.full((128, 128, 3), 90, np.uint8)] * 6
    write_clip(folder / "no face.mp4", wall, Fraction(25))
    (folder / "cut off.mp4").write_bytes((folder / "film.mp4").read_bytes()[:2000])
    Image.fromarray(frames[0]).save(folder / "portrait.png")
    return folder


@pytest.fixture(scope="module")
def talker() -> MoDiTalker:
    return MoDiTalker.from_pretrained("debug", device="cpu")


def shell(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`, as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "moditalker", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_generate_in_a_shell(media: Path, tmp_path: Path) -> None:
    ran = shell(
        media, "generate", "--audio", "speech.m4a", "--video", "film.mp4", "--out",
        str(tmp_path / "out.mp4"), "--preset", "debug", "--steps", "2", "--json", "atom.steps=2",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    stages = [line.split(":")[0] for line in ran.stderr.splitlines()]
    assert stages == ["load", "faces", "speech", "motion", "video"]
    account = json.loads(ran.stdout)
    assert account["size"] == [240, 352] and account["preset"] == "debug" and account["seed"] == 0
    assert account["fps"] == pytest.approx(23.976, abs=0.5)
    assert set(stages) <= set(account["stages"]) and set(stages) == set(account["memory_mib"])
    assert account["peak_memory_mib"] > 50 and account["versions"]["torch"]
    info = probe(account["out"])
    assert (info.width, info.height, info.rate) == (240, 352, Fraction(24000, 1001))
    assert info.frame_count == account["frames"] and info.has_audio
    # AAC fills its last packet.
    assert abs(info.duration - account["seconds"]) < 1 / 23 and account["seconds"] < SECONDS + 0.07
    assert "Synthetic media" in read_metadata(account["out"])["comment"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_landmarks_in_a_shell_without_a_detector(media: Path, tmp_path: Path) -> None:
    face = np.load(motion_of(media, tmp_path))["landmarks"][0]
    np.save(tmp_path / "face.npy", face)
    ran = shell(
        media, "landmarks", "--audio", "speech.wav", "--landmarks", str(tmp_path / "face.npy"),
        "--out", str(tmp_path / "posed.csv"), "--space", "image", "--preset", "debug", "--quiet",
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    posed = Motion.load(tmp_path / "posed.csv")
    assert posed.space == "image" and posed.affine is not None
    assert abs(len(posed) / 25 - SECONDS) <= 1 / 25
    eyes = list(range(36, 48))
    assert np.abs(posed.landmarks[:, eyes, :2] - face[eyes, :2]).mean() < 25


def motion_of(media: Path, folder: Path) -> Path:
    """Posed motion of the portrait, made in this process."""
    out = folder / "motion.npz"
    MoDiTalker.from_pretrained("debug").landmarks(
        media / "speech.mp3", image=media / "portrait.png", out=out, space="image"
    )
    return out


@pytest.mark.parametrize("name", ["m.npz", "m.csv", "m.json", "m.mp4"])
def test_landmarks_in_every_format(
    talker: MoDiTalker, media: Path, tmp_path: Path, name: str
) -> None:
    result = talker.landmarks(
        media / "speech.mp3", image=media / "portrait.png", out=tmp_path / name
    )
    assert abs(result.seconds - SECONDS) < 0.1 and abs(result.fps - 25) < 1
    if name == "m.mp4":
        info = probe(result.out)
        assert info.has_audio and info.frame_count == result.frames
        assert result.size == (info.width, info.height)
    else:
        motion = Motion.load(result.out)
        assert motion.space == "frontal" and len(motion) == result.frames


def frames_of(path: Path) -> np.ndarray:
    with FrameSource(path) as source:
        return np.stack(list(source))


def test_the_seed_decides_and_only_the_lower_face_changes(
    talker: MoDiTalker, media: Path, tmp_path: Path
) -> None:
    def made(name: str, **options: Any) -> np.ndarray:
        result = talker.generate(
            media / "speech.mp3", media / "phone.mp4", out=tmp_path / name, steps=1, **options
        )
        return frames_of(result.out)

    first, again, other = made("a.mp4"), made("b.mp4"), made("c.mp4", seed=1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert probe(tmp_path / "a.mp4").rate == Fraction(60000, 1001)
    source = frames_of(media / "phone.mp4")
    assert abs(len(first) / 59.94 - SECONDS) < 0.06
    above = slice(0, 100)
    error = np.abs(first[:16, above].astype(int) - source[:, above]).mean()
    assert error < 2, "above the nose only the encoder may change pixels"


def test_an_image_gives_a_crop_of_the_networks_size(
    talker: MoDiTalker, media: Path, tmp_path: Path
) -> None:
    result = talker.generate(
        media / "speech.wav", image=media / "portrait.png", out=tmp_path / "crop.mp4", steps=1,
        crop_only=True,
    )  # fmt: skip
    info = probe(result.out)
    assert result.size == (info.width, info.height) == (64, 64)
    assert info.rate == 25 and abs(info.duration - SECONDS) <= 0.04


def test_a_motion_file_takes_the_place_of_the_sound(
    talker: MoDiTalker, media: Path, tmp_path: Path
) -> None:
    made = talker.landmarks(
        media / "speech.mp3", image=media / "portrait.png", out=tmp_path / "m.npz"
    )
    shown: dict[str, Any] = {
        "image": media / "portrait.png",
        "out": tmp_path / "out.mp4",
        "steps": 1,
    }
    talker.generate(media / "speech.mp3", motion=made.out, **shown)
    direct = frames_of(tmp_path / "out.mp4")
    talker.generate(media / "speech.mp3", **shown)
    np.testing.assert_array_equal(direct, frames_of(tmp_path / "out.mp4"))


def misfit(talker: MoDiTalker, folder: Path) -> None:
    """A bundle whose config names other sizes than its networks have."""
    unet = talker.networks.unet.state_dict()
    for name in ("atom", "autoencoder", "landmark_encoder", "unet"):
        save_network(folder, name, unet, {}, statistics={}, diffusion={}, speech_encoder="none")
    write_config(folder, {**read_config(folder), "preset": "debug"})


BAD_INPUT = {
    "a missing sound": (["--audio", "gone.wav"], "gone.wav does not exist"),
    "a damaged sound": (["--audio", "damaged.mp3"], "damaged.mp3"),
    "no audio track": (["--audio", "film.mp4"], "film.mp4 has no audio track"),
    "0.1 s": (["--audio", "short.wav"], "short.wav is 0.10 s long"),
    "silence": (["--audio", "silence.wav"], "silence.wav is silent"),
    "a missing video": (["--video", "gone.mp4"], "gone.mp4 does not exist"),
    "a damaged video": (["--video", "cut off.mp4"], "cut off.mp4"),
    "a sound as video": (["--video", "speech.mp3"], "has no video track"),
    "no face": (["--video", "no face.mp4"], "no face in 6 of 6 frames"),
    "one frame": (["--video", "one frame.mp4"], "has 1 frame"),
    "a video as image": (["--image", "film.mp4"], "film.mp4 is a video. Give it with --video"),
    "no reference": (["--preset", "debug"], "give one reference"),
    "too short, and not to be extended": (
        ["--video", "film.mp4", "--extend", "error"], "lasts 0.67 s"
    ),
    "no such folder": (["--video", "film.mp4", "--out", "gone/out.mp4"], "there is no folder"),
    "another ending": (["--video", "film.mp4", "--out", "out.avi"], "must end in .mp4"),
    "a misspelt key": (["--video", "film.mp4", "mtov.stpes=3"], "Is it mtov.steps"),
    "no evaluations": (["--video", "film.mp4", "--steps", "0"], "the least is 1"),
    "no motion file": (["--video", "film.mp4", "--motion", "gone.npz"], "gone.npz: no such file"),
    "a negative control": (["--video", "film.mp4", "--lip-scale=-1"], "must be 0 or more"),
    "weights for another preset": (
        ["--video", "film.mp4", "--weights", "bundle", "--preset", "paper"],
        "bundle is for preset debug, not paper",
    ),
    "weights that do not fit": (["--video", "film.mp4", "--weights", "bundle"], "does not fit"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(talker: MoDiTalker, media: Path) -> Path:
    misfit(talker, media / "bundle")
    return media / "bundle"


@pytest.fixture
def loaded(talker: MoDiTalker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks are made once, unless weights are asked for."""
    load = MoDiTalker.from_pretrained

    def once(preset: str, *, weights: Path | None, device: str) -> MoDiTalker:
        return talker if weights is None else load(preset, weights=weights, device=device)

    monkeypatch.setattr(MoDiTalker, "from_pretrained", once)


@pytest.mark.usefixtures("bundle", "loaded")
@pytest.mark.parametrize("case", sorted(BAD_INPUT))
def test_bad_input_is_one_line_and_leaves_no_file(
    case: str, media: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(media)
    before = sorted(media.iterdir())
    words, message = BAD_INPUT[case]
    if "--audio" not in words:
        words = ["--audio", "speech.wav", *words]
    elif "--video" not in words:
        words = [*words, "--video", "film.mp4"]
    assert cli.main(["generate", "--quiet", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0], lines
    assert sorted(media.iterdir()) == before


@pytest.mark.usefixtures("loaded")
def test_a_full_disk_is_one_line_and_leaves_no_file(
    media: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    words = ["--audio", str(media / "speech.wav"), "--image", str(media / "portrait.png")]
    out = ["--out", str(tmp_path / "out.mp4"), "--quiet", "--steps", "1"]
    assert cli.main(["generate", *words, *out]) == 2
    assert "disk is full" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
