"""Sound: every container, rate and channel count; and what cannot drive a face."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_samples import make_sound, make_video, numbered, tone

from moditalker.errors import AudioError, MediaError
from moditalker.media import Audio, probe, read_audio, write_video

SECONDS = 1.5


@pytest.mark.parametrize("ending", [".wav", ".flac", ".mp3", ".ogg", ".m4a", ".mkv", ".aac"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_every_container_and_rate_gives_16_khz_mono(tmp_path: Path, ending: str, rate: int) -> None:
    if (ending, rate) == (".ogg", 44100):
        pytest.skip("Opus knows no 44.1 kHz")
    path = make_sound(tmp_path / f"a{ending}", tone(SECONDS, rate), rate)
    audio = read_audio(path)
    assert (audio.rate, audio.samples.dtype, audio.samples.ndim) == (16000, np.float32, 1)
    padding = 0.3 if ending in (".aac", ".mkv") else 0.003
    assert audio.seconds == pytest.approx(SECONDS, abs=padding)
    if ending != ".aac":
        _same_sound(audio.samples, tone(SECONDS, 16000)[:, 0])


def _same_sound(found: np.ndarray, wanted: np.ndarray) -> None:
    """In step: a tone of 220 Hz that is 1 ms off would already differ by its own size."""
    count = min(len(found), len(wanted)) - 1600
    error = found[800:count] - wanted[800:count]
    assert np.sqrt((error**2).mean()) < 0.1 * np.sqrt((wanted**2).mean())


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_kept_or_mixed(tmp_path: Path, channels: int) -> None:
    samples = tone(1, 48000, channels)
    path = make_sound(tmp_path / "a.wav", samples, 48000)
    own = read_audio(path, rate=None, mono=False)
    assert (own.rate, own.samples.shape, own.channels) == (48000, samples.shape, channels)
    np.testing.assert_allclose(own.samples, samples, atol=1e-4)
    mono = read_audio(path, rate=None)
    # Of six channels the first three are left, right and centre.
    np.testing.assert_allclose(mono.samples, samples[:, :3].mean(1), atol=1e-4)


def test_resampling_keeps_the_length(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.wav", tone(2.3456, 44100), 44100)
    assert len(read_audio(path).samples) == pytest.approx(2.3456 * 16000, abs=1)


def test_sound_of_a_video_in_step_with_its_frames(tmp_path: Path) -> None:
    """Its frames begin 0.2 s after its sound: `start` cuts the sound there."""
    samples = tone(1, 16000)[:, 0]
    path = tmp_path / "a.mp4"
    write_video(path, numbered(25), 25, audio=Audio(samples, 16000))
    info = probe(path)
    whole = read_audio(path)
    later = read_audio(path, start=info.start + 0.2)
    np.testing.assert_array_equal(later.samples, whole.samples[3200:])
    earlier = read_audio(path, start=info.start - 0.1)
    assert not earlier.samples[:1600].any()
    np.testing.assert_array_equal(earlier.samples[1600:], whole.samples)


def test_hole_in_the_timestamps_is_silence(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=16000, layout="mono")
        for start in (0, 16000):  # half a second, half a second of nothing, half a second
            level = np.full((1, 8000), 9000, np.int16)
            frame = av.AudioFrame.from_ndarray(level, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    audio = read_audio(path)
    assert audio.seconds == pytest.approx(1.5, abs=0.002)
    assert not audio.samples[8200:15800].any() and audio.samples[16200:].all()


def test_a_tenth_of_a_second_is_too_short(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "short.wav", tone(0.1, 16000), 16000)
    with pytest.raises(AudioError, match=r"short\.wav is 0\.10 s long\. Give at least 0\.2 s"):
        read_audio(path)
    assert read_audio(path, check=False).seconds == pytest.approx(0.1)


@pytest.mark.parametrize("level", [0.0, 3e-4])
def test_silence_is_refused(tmp_path: Path, level: float) -> None:
    path = make_sound(tmp_path / "quiet.wav", level * tone(1, 16000), 16000)
    with pytest.raises(AudioError, match="is silent"):
        read_audio(path)


def test_quiet_speech_is_accepted(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "quiet.flac", 0.02 * tone(1, 16000), 16000)
    assert read_audio(path).seconds == pytest.approx(1)


def test_video_without_sound_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "mute.mp4", range(5), Fraction(1, 25))
    with pytest.raises(AudioError, match="has no audio track"):
        read_audio(path)


@pytest.mark.parametrize("ending", [".wav", ".flac", ".m4a", ".mkv"])
def test_truncated_sound_is_refused(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (48000, 1)).astype(np.float32)
    path = make_sound(tmp_path / f"a{ending}", noise, 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="damaged"):
        read_audio(path)


def test_truncated_mp3_is_refused_where_its_header_tells(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.mp3", tone(3, 44100), 44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="damaged"):
        read_audio(path)


def test_a_missing_end_of_a_few_percent_is_accepted(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.wav", tone(3, 16000), 16000)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.95)])
    assert read_audio(path).seconds == pytest.approx(2.85, abs=0.01)


def test_missing_file_folder_and_text_say_so(tmp_path: Path) -> None:
    for path, words in [("none.wav", "does not exist"), (".", "is a folder")]:
        with pytest.raises(MediaError, match=words):
            read_audio(tmp_path / path)
    (tmp_path / "a.mp3").write_text("not a sound\n" * 400)
    with pytest.raises(MediaError):
        read_audio(tmp_path / "a.mp3")


def test_path_with_spaces_and_letters_of_all_kinds(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.wav", tone(1, 8000), 8000).rename(
        tmp_path / "Grüße: «речь» 100% 音.wav"
    )
    assert read_audio(path).seconds == pytest.approx(1)
