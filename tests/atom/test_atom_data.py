from pathlib import Path

import numpy as np
import pytest
from atom_samples import opening, write_data_set

from atom.augment import Augmentation, mirrored, read_at
from atom.data import MotionData, MotionWindows, read_clips, read_lags
from moditalker.errors import DatasetError
from moditalker.landmarks import mean_face

PLAIN = Augmentation(initial_noise=0, speech_noise=0, mirror=0)
STRONG = Augmentation(speech_noise=0.2, mirror=0.5, identity=1.0, tempo=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = {"ann-1": 60, "ann-2": 45, "bob-1": 80, "cy-1": 10}
    return write_data_set(tmp_path_factory.mktemp("data ü"), clips)


def windows(folder: Path, augmentation: Augmentation, frames: int = 30) -> MotionWindows:
    clips = read_clips([str(folder)], "test", {}, least=5)
    return MotionWindows(clips, frames, seed=3, augmentation=augmentation)


@pytest.mark.parametrize("augmentation", [PLAIN, STRONG])
@pytest.mark.parametrize("frames", [1, 30, 100])
def test_windows_have_two_speech_frames_for_each_motion_frame(
    folder: Path, augmentation: Augmentation, frames: int
) -> None:
    item = windows(folder, augmentation, frames)[5]
    assert item["landmarks"].shape == (frames, 68, 3)
    assert item["speech"].shape == (2 * frames, 8)
    assert item["initial"].shape == (68, 3)


def test_a_window_is_a_function_of_seed_and_number(folder: Path) -> None:
    first, second = windows(folder, STRONG), windows(folder, STRONG)
    assert all((first[7][key] == second[7][key]).all() for key in first[7])
    assert not (first[7]["speech"] == first[8]["speech"]).all()


@pytest.mark.parametrize("tempo", [0.0, 0.2])
def test_speech_stays_with_the_motion(folder: Path, tempo: float) -> None:
    """The mouth of these faces opens with feature 0 of the same time, at any tempo."""
    data = windows(folder, Augmentation(speech_noise=0, mirror=0, identity=1.0, tempo=tempo))
    for number in range(5):
        item = data[number]
        r = np.corrcoef(opening(item["landmarks"].numpy()), item["speech"][::2, 0].numpy())
        assert r[0, 1] > 0.95


def test_another_face_leaves_the_residual_alone(folder: Path) -> None:
    quiet = Augmentation(initial_noise=0, speech_noise=0, mirror=0, identity=1.0)
    plain, moved = windows(folder, PLAIN)[2], windows(folder, quiet)[2]
    assert not np.allclose(plain["landmarks"], moved["landmarks"], atol=1e-4)
    residuals = [item["landmarks"] - item["initial"] for item in (plain, moved)]
    assert np.allclose(*residuals, atol=1e-5)


def test_mirroring_exchanges_left_and_right() -> None:
    raised = mean_face()
    raised[17:22, 1] += 0.1  # the brow on the viewer's left
    raised[17:22, 0] -= 0.02
    other = mirrored(raised)
    assert np.allclose(other[22:27, 1], raised[17:22, 1][::-1])
    assert np.allclose(other[22:27, 0], -raised[17:22, 0][::-1])
    assert np.allclose(mirrored(other), raised)


def test_reading_between_frames() -> None:
    track = np.array([[0.0], [2.0], [6.0]], dtype=np.float32)
    places = np.array([-1.0, 0.5, 1.0, 1.25, 2.0, 9.0])
    assert read_at(track, places)[:, 0].tolist() == [0, 1, 2, 3, 6, 6]
    assert read_at(track[:1], places)[:, 0].tolist() == [0] * 6


def test_late_audio_is_moved_back_to_its_mouth(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "sync.csv"
    table.write_text("clip,seconds,best_lag_frames_25fps\nann-1,2.4,2\nbob-1,3.2,-1\n")
    lags = read_lags(str(table))
    plain = read_clips([str(folder)], "test", {}, 5)
    moved = read_clips([str(folder)], "test", lags, 5)
    assert (moved[0].speech[:-4] == plain[0].speech[4:]).all()
    assert (moved[2].speech[2:] == plain[2].speech[:-2]).all()
    assert (moved[1].speech == plain[1].speech).all()
    assert all(len(clip.speech) == 2 * len(clip) for clip in moved)


def test_people_for_validation_are_never_trained_on(folder: Path) -> None:
    data = MotionData([str(folder)], validation_people=["ann"], speech_encoder="test")
    data.setup("fit")
    assert {clip.person for clip in data.validation} == {"ann"}
    assert {clip.person for clip in data.training} == {"bob"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folders": ["nowhere"]}, "manifest"),
        ({"speech_encoder": "hubert"}, "hubert"),
        ({"validation_people": ["ann", "bob", "cy"]}, "validation_people"),
        ({"lags": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_what_is_missing_is_named(folder: Path, options: dict[str, object], message: str) -> None:
    wanted: dict[str, object] = {"folders": [str(folder)], "speech_encoder": "test", **options}
    with pytest.raises(DatasetError, match=message):
        MotionData(**wanted).setup("fit")  # type: ignore[arg-type]
