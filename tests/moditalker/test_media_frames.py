"""Frames: exact times, upright pictures, any order, bounded memory, errors for people."""

from __future__ import annotations

import resource
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from media_samples import HEIGHT, WIDTH, make_sound, make_video, number_of, numbered, tone
from PIL import Image

from moditalker.errors import MediaError, ReferenceVideoError
from moditalker.media import FrameSource, probe

RATES = [Fraction(25), Fraction(24000, 1001), Fraction(60000, 1001), Fraction(30000, 1001)]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_rate_and_times_are_exact(tmp_path: Path, rate: Fraction) -> None:
    stamps = [i * rate.denominator for i in range(30)]
    info = probe(make_video(tmp_path / "a.mp4", stamps, Fraction(1, rate.numerator)))
    assert (info.frame_count, info.rate, info.variable) == (30, rate, False)
    np.testing.assert_allclose(info.times, np.arange(30) / float(rate), atol=1e-9)
    assert info.duration == pytest.approx(30 / float(rate))
    assert info.last_duration == pytest.approx(1 / float(rate))


def test_variable_rate_keeps_each_frame_where_it_is(tmp_path: Path) -> None:
    stamps = [0, 10, 50, 60, 130, 140, 150]
    info = probe(make_video(tmp_path / "a.mp4", stamps, Fraction(1, 100)))
    assert info.variable
    np.testing.assert_allclose(info.times, np.array(stamps) / 100)
    assert float(info.rate) == pytest.approx(7 / info.duration, rel=1e-3)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi", "ts", "mov"])
def test_containers_give_all_frames_in_both_directions(tmp_path: Path, ending: str) -> None:
    codec = {"avi": "mpeg4", "webm": "libvpx"}.get(ending, "libx264")
    options = {"b": "4M"} if codec != "libx264" else {"crf": "5", "g": "8", "bf": "2"}
    path = make_video(
        tmp_path / f"a.{ending}", range(25), Fraction(1, 25), codec=codec, options=options
    )
    with FrameSource(path) as source:
        assert source.info.rate == 25
        assert [number_of(image) for image in source] == list(range(25))
        order = [*range(24, -1, -1), 3, 17, 17, 4]
        assert [number_of(image) for image in source.read(order)] == order


def test_milliseconds_of_matroska_are_no_variable_rate(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.mkv", [i * 1001 for i in range(40)], Fraction(1, 60000)))
    assert not info.variable


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_phone_video_comes_upright(tmp_path: Path, rotation: int) -> None:
    path = make_video(tmp_path / "a.mp4", range(5), Fraction(1, 25), rotation=rotation)
    with FrameSource(path) as source:
        image = source[0]
        size = (HEIGHT, WIDTH) if rotation % 180 == 0 else (WIDTH, HEIGHT)
        assert image.shape[:2] == size == (source.info.height, source.info.width)
        assert source.info.rotation == rotation
        expected = np.rot90(numbered(1)[0], rotation // 90)
        assert np.abs(image.astype(int) - expected).mean() < 4


def test_mirrored_phone_video_comes_as_players_show_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25), rotation=90, flip=True)
    with FrameSource(path) as source:
        # The matrix turns the picture and then mirrors it.
        expected = np.rot90(numbered(1)[0], 1)[:, ::-1]
        assert np.abs(source[0].astype(int) - expected).mean() < 4


def test_oblong_pixels_become_square(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25), aspect=Fraction(4, 3))
    with FrameSource(path) as source:
        assert source[0].shape == (HEIGHT, WIDTH * 4 // 3, 3)


def test_colours_survive(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25))
    with FrameSource(path) as source:
        np.testing.assert_allclose(source[0][5, 5], (230, 20, 20), atol=6)


def test_only_what_an_edit_list_shows(tmp_path: Path) -> None:
    """A video that starts between key frames carries frames that must not be seen."""
    whole = make_video(tmp_path / "a.mp4", range(-4, 20), Fraction(1, 25))
    with FrameSource(whole) as source:
        numbers = [number_of(image) for image in source]
    assert numbers == list(range(numbers[0], numbers[0] + len(source)))
    assert source.info.times[0] == 0


def test_ping_pong_in_bounded_memory(tmp_path: Path) -> None:
    """240 frames of 480x360 are 119 MB as pictures, of which 64 are kept."""
    count, kept = 240, 64
    path = tmp_path / "long.mp4"
    _long_video(path, count)
    with FrameSource(path) as source:
        before = _peak_mb()
        order = [*range(count), *range(count - 2, -1, -1)]
        levels = np.array([int(image[180, 240, 0]) for image in source.read(order)])
        grown = _peak_mb() - before
    np.testing.assert_array_equal(levels[:count], levels[count - 1 :][::-1])
    assert grown < 2 * kept * 480 * 360 * 3 / 2**20


def _long_video(path: Path, count: int) -> None:
    from moditalker.media import write_video

    frames = (np.full((360, 480, 3), i % 256, np.uint8) for i in range(count))
    write_video(path, frames, 60, preset="ultrafast", crf=30)


def _peak_mb() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def test_random_access_and_bounds(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(20), Fraction(1, 25))
    with FrameSource(path) as source:
        assert number_of(source[-1]) == 19
        with pytest.raises(IndexError):
            source[20]


def test_given_images_are_the_callers_own(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25))
    with FrameSource(path) as source:
        source[1][:] = 0
        assert source[1].any()


def test_video_of_one_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "one.mp4", [0], Fraction(1, 25))
    info = probe(path)
    assert (info.frame_count, info.is_image) == (1, False)
    assert info.duration > 0
    with pytest.raises(ReferenceVideoError, match=r"has 1 frame\."):
        info.require_moving()


def test_image_is_one_upright_frame(tmp_path: Path) -> None:
    path = tmp_path / "portrait.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown after a quarter turn clockwise
    Image.fromarray(numbered(1)[0]).save(path, exif=exif, quality=95)
    with FrameSource(path) as source:
        assert (source.info.width, source.info.height) == (HEIGHT, WIDTH)
        assert source.info.is_image and len(source) == 1
        source.info.require_moving()
        expected = np.rot90(numbered(1)[0], -1)
        assert np.abs(source[0].astype(int) - expected).mean() < 4


def test_transparent_image_gets_a_white_ground(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(path)
    with FrameSource(path) as source:
        assert (source[0] == 255).all()


def test_animated_gif_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.fromarray(image) for image in numbered(6)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    with FrameSource(path) as source:
        assert [number_of(image) for image in source.read([0, 5, 2, 1])] == [0, 5, 2, 1]


def test_path_with_spaces_colon_and_letters_of_all_kinds(tmp_path: Path) -> None:
    folder = tmp_path / "Été à Zürich 演讲: 100%"
    folder.mkdir()
    path = make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25)).rename(folder / "vidéo Ω.mp4")
    assert probe(path).frame_count == 3


def test_missing_folder_and_empty_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        FrameSource(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="is a folder"):
        FrameSource(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match="is empty"):
        FrameSource(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video at all " * 99)
    with pytest.raises(MediaError, match="damaged"):
        FrameSource(tmp_path / "text.mp4")


def test_sound_file_has_no_video(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.wav", tone(0.5, 8000), 8000)
    with pytest.raises(ReferenceVideoError, match="no video track"):
        FrameSource(path)


@pytest.mark.parametrize("container", [{}, {"movflags": "+faststart"}], ids=["end", "front"])
def test_truncated_video_is_refused(tmp_path: Path, container: dict[str, str]) -> None:
    path = make_video(tmp_path / "a.mp4", range(90), Fraction(1, 25), container=container)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="damaged"):
        FrameSource(path)


def test_truncated_video_can_be_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4", range(90), Fraction(1, 25), container={"movflags": "+faststart"}
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with FrameSource(path, tolerant=True) as source:
        assert 10 < len(source) < 90
        levels = [float(image.mean()) for image in source]
        assert levels[0] == source[0].mean()


def test_damaged_frames_show_the_one_before(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(60), Fraction(1, 25))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + (data.index(b"moov") - data.index(b"mdat")) * 2 // 3
    data[start : start + 200] = bytes(200)
    path.write_bytes(bytes(data))
    with FrameSource(path) as source:
        assert len(list(source)) == 60


def test_damaged_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(MediaError, match="damaged"):
        FrameSource(path)


def test_times_increase(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.ts", range(20), Fraction(1, 25)))
    assert all(a < b for a, b in pairwise(info.times))
