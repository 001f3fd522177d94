"""The finished video: rate, length, sound, sizes, label; whole or not there at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_samples import make_sound, make_video, number_of, numbered, tone

from moditalker.errors import AudioError, OutputError
from moditalker.media import (
    SYNTHETIC_METADATA,
    Audio,
    FrameSource,
    atomic_output,
    check_output,
    probe,
    read_audio,
    read_metadata,
    write_video,
)
from moditalker.media.output import part_path
from moditalker.timeline import extend

RATES = [Fraction(25), Fraction(24000, 1001), Fraction(60000, 1001), Fraction(30)]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("given", ["rate", "times", "milliseconds"])
def test_rate_comes_back_exactly(tmp_path: Path, rate: Fraction, given: str) -> None:
    times = np.arange(40) / float(rate)
    shown = {"rate": rate, "times": times, "milliseconds": times.round(3)}[given]
    write_video(tmp_path / "a.mp4", numbered(40), shown)
    info = probe(tmp_path / "a.mp4")
    assert (info.rate, info.frame_count, info.variable) == (rate, 40, False)
    np.testing.assert_allclose(info.times, times, atol=1e-9)
    assert info.duration == pytest.approx(40 / float(rate))


def test_variable_times_come_back_to_a_tick(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.09, 40))
    times -= times[0]
    write_video(tmp_path / "a.mp4", numbered(40), times, last_duration=0.2)
    info = probe(tmp_path / "a.mp4")
    assert info.variable
    np.testing.assert_allclose(info.times, times, atol=0.6 / 90000)
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(times[-1] + 0.2, abs=1e-4)
    with FrameSource(tmp_path / "a.mp4") as source:
        assert [number_of(image) for image in source] == [i % 30 for i in range(40)]


@pytest.mark.parametrize("rate", [*RATES, "variable"], ids=str)
@pytest.mark.parametrize("mode", ["pingpong", "loop", "freeze"])
def test_as_long_as_the_sound_to_one_frame(tmp_path: Path, rate: Fraction | str, mode: Any) -> None:
    steps = np.array([0.02, 0.05, 0.03, 0.04, 0.04] * 3)
    if isinstance(rate, Fraction):
        steps = np.full(15, 1 / float(rate))
    timeline = extend(np.cumsum(steps) - steps[0], steps[-1], 1.777, mode)
    images = numbered(15)
    write_video(
        tmp_path / "a.mp4", (images[i] for i in timeline.indices), timeline.times,
        audio=Audio(tone(1.777, 16000), 16000), last_duration=timeline.last_duration,
    )  # fmt: skip
    info = probe(tmp_path / "a.mp4")
    sound = read_audio(tmp_path / "a.mp4")
    assert sound.seconds == pytest.approx(1.777, abs=1e-3)
    assert info.frame_count == len(timeline)
    assert abs(info.times[-1] + timeline.last_duration - sound.seconds) <= steps.max() / 2 + 1e-3


def _packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (44100, 2), (48000, 6)])
@pytest.mark.parametrize("ending", [".m4a", ".mkv"])
def test_aac_is_copied_untouched_and_in_step(
    tmp_path: Path, rate: int, channels: int, ending: str
) -> None:
    source = make_sound(tmp_path / f"a{ending}", tone(1.3, rate, channels), rate, "aac")
    write_video(tmp_path / "out.mp4", numbered(30), 25, audio=source)
    assert _packets(tmp_path / "out.mp4") == _packets(source)
    own = read_audio(source, rate=None, mono=False)
    start = probe(tmp_path / "out.mp4").start
    copied = read_audio(tmp_path / "out.mp4", rate=None, mono=False, start=start)
    assert (copied.rate, copied.channels) == (rate, channels)
    count = min(len(own.samples), len(copied.samples))
    assert abs(len(own.samples) - len(copied.samples)) < 0.002 * rate or ending == ".mkv"
    np.testing.assert_array_equal(copied.samples[:count], own.samples[:count])


def test_raw_aac_is_copied_too(tmp_path: Path) -> None:
    source = make_sound(tmp_path / "a.aac", tone(1.3, 44100), 44100)
    write_video(tmp_path / "out.mp4", numbered(30), 25, audio=source)
    own, copied = (read_audio(path, rate=None) for path in (source, tmp_path / "out.mp4"))
    count = min(len(own.samples), len(copied.samples))
    np.testing.assert_array_equal(copied.samples[:count], own.samples[:count])


@pytest.mark.parametrize("ending", [".wav", ".flac", ".mp3"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (48000, 2)])
def test_other_sound_keeps_rate_channels_length_and_step(
    tmp_path: Path, ending: str, rate: int, channels: int
) -> None:
    source = make_sound(tmp_path / f"a{ending}", tone(1.3, rate, channels), rate)
    write_video(tmp_path / "out.mp4", numbered(30), 25, audio=source)
    own = read_audio(source, rate=None, mono=False)
    start = probe(tmp_path / "out.mp4").start
    coded = read_audio(tmp_path / "out.mp4", rate=None, mono=False, start=start)
    assert (coded.rate, coded.channels) == (rate, channels)
    assert len(coded.samples) == pytest.approx(len(own.samples), abs=1)
    count = min(len(own.samples), len(coded.samples))
    assert np.abs(coded.samples[:count] - own.samples[:count]).max() < 0.03


def test_8_khz_wav_and_odd_rates(tmp_path: Path) -> None:
    for rate, stored in [(8000, 8000), (37800, 32000), (192000, 96000)]:
        source = make_sound(tmp_path / f"{rate}.wav", tone(1, rate), rate)
        write_video(tmp_path / "out.mp4", numbered(25), 25, audio=source)
        coded = read_audio(tmp_path / "out.mp4", rate=None)
        assert (coded.rate, coded.seconds) == (stored, pytest.approx(1, abs=0.001))


def test_sound_can_be_cut(tmp_path: Path) -> None:
    for name in ("a.wav", "a.m4a"):
        source = make_sound(tmp_path / name, tone(3, 16000), 16000)
        write_video(tmp_path / "out.mp4", numbered(25), 25, audio=source, audio_seconds=1)
        # Copied packets end with a whole one of 1024 samples.
        assert read_audio(tmp_path / "out.mp4").seconds == pytest.approx(1, abs=0.065)


def test_colours_and_everyday_format(tmp_path: Path) -> None:
    colours = [(230, 20, 20), (20, 200, 30), (30, 40, 220), (128, 128, 128), (250, 220, 190)]
    frames = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    write_video(tmp_path / "a.mp4", frames, 25, crf=5)
    with FrameSource(tmp_path / "a.mp4") as source:
        for image, colour in zip(source, colours, strict=True):
            np.testing.assert_allclose(image[20, 30], colour, atol=3)
    with av.open(str(tmp_path / "a.mp4")) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("size", "stored"), [((255, 333), (256, 334)), ((256, 333), (256, 334))])
def test_odd_sizes_grow_by_a_repeated_line(
    tmp_path: Path, size: tuple[int, int], stored: tuple[int, int]
) -> None:
    write_video(tmp_path / "a.mp4", numbered(3, *size), 25)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height) == stored
    with FrameSource(tmp_path / "a.mp4") as source:
        assert np.abs(source[0][-1].astype(int) - source[0][-3]).max() < 6


def test_label_can_be_read_back(tmp_path: Path) -> None:
    metadata = {**SYNTHETIC_METADATA, "comment": 'seed=7, "Grüße" & <音>'}
    write_video(tmp_path / "a.mp4", numbered(3), 25, metadata=metadata)
    found = read_metadata(tmp_path / "a.mp4")
    assert {key: found[key] for key in metadata} == metadata
    assert "AI-generated" in found["description"]
    assert found["digital_source_type"].endswith("compositeWithTrainedAlgorithmicMedia")
    assert "digital_source_type" not in read_metadata(
        make_video(tmp_path / "b.mp4", range(3), Fraction(1, 25))
    )


def test_progress_counts_frames(tmp_path: Path) -> None:
    seen: list[int] = []
    write_video(tmp_path / "a.mp4", numbered(4), 25, progress=seen.append)
    assert seen == [1, 2, 3, 4]


def test_frames_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """Memory stays bounded: no frame is asked for before the one before is encoded."""
    alive: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for number, image in enumerate(numbered(5)):
            assert alive == list(range(number))
            yield image

    write_video(tmp_path / "a.mp4", frames(), 25, progress=lambda done: alive.append(done - 1))
    assert len(alive) == 5


def _failing(error: BaseException) -> Iterator[np.ndarray]:
    yield from numbered(3)
    raise error


@pytest.mark.parametrize("error", [RuntimeError("network"), KeyboardInterrupt()], ids=repr)
def test_no_half_written_output(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.mp4").write_text("the result of yesterday")
    with pytest.raises(type(error)):
        write_video(tmp_path / "a.mp4", _failing(error), 25)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "the result of yesterday"


def test_bad_sound_leaves_nothing(tmp_path: Path) -> None:
    mute = make_video(tmp_path / "mute.mp4", range(3), Fraction(1, 25))
    with pytest.raises(AudioError):
        write_video(tmp_path / "a.mp4", numbered(3), 25, audio=mute)
    assert [path.name for path in tmp_path.iterdir()] == ["mute.mp4"]


def test_full_disk_while_frames_are_made(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match="the disk is full"):
        write_video(tmp_path / "a.mp4", _failing(error), 25)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("count", [3, 300])
def test_full_disk_while_writing(tmp_path: Path, count: int) -> None:
    """The real thing: everything that is written to /dev/full meets a full disk."""
    path = tmp_path / "a.mp4"
    part_path(path).symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"cannot write .*a\.mp4: the disk is full"):
        write_video(path, (numbered(1)[0] for _ in range(count)), 25)
    assert not list(tmp_path.iterdir())


def test_errors_of_inputs_are_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text()


def test_wrong_places_say_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.mp4"):
        write_video(tmp_path / "a.avi", numbered(3), 25)
    with pytest.raises(OutputError, match="there is no folder"):
        write_video(tmp_path / "none" / "a.mp4", numbered(3), 25)
    (tmp_path / "b.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "b.mp4")


def test_path_with_spaces_and_letters_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "Grüße: «речь» 100% 音.mp4"
    write_video(path, numbered(3), 25)
    assert probe(path).frame_count == 3


def test_frames_and_times_must_match(tmp_path: Path) -> None:
    for count, times in [(3, [0.0, 0.1]), (2, [0.0, 0.1, 0.2]), (0, 25), (2, [0.1, 0.0])]:
        with pytest.raises(ValueError):
            write_video(tmp_path / "a.mp4", numbered(count), times)
    with pytest.raises(ValueError, match="another size"):
        write_video(tmp_path / "a.mp4", [*numbered(2), *numbered(1, 80, 80)], 25)
    assert not list(tmp_path.iterdir())
