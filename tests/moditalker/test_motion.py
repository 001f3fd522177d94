from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moditalker.aligner import apply_affine
from moditalker.errors import MotionFileError, OutputError
from moditalker.landmarks import LIP_GROUP, NON_LIP_GROUP, mean_face, mouth_opening
from moditalker.motion import Motion, close_when_silent, closed_mouth, scale_lips, smooth

SUFFIXES = [".npz", ".csv", ".json"]
JAW_AND_LOWER_LIP = [*range(3, 14), *range(55, 60), 65, 66, 67]


def talking(frames: int = 100, rate: float = 25.0) -> Motion:
    """A mouth that opens and closes three times a second, on a face that breathes a little."""
    times = np.arange(frames) / rate
    landmarks = np.repeat(mean_face()[None], frames, axis=0)
    landmarks[:, JAW_AND_LOWER_LIP, 1] -= 0.06 * (1 - np.cos(2 * np.pi * 3 * times))[:, None]
    landmarks += 0.003 * np.random.default_rng(0).normal(size=landmarks.shape)
    return Motion(landmarks, times, "frontal", mean_face())


def turning(frames: int) -> np.ndarray:
    """Maps to an image (T, 2, 4): a head that turns."""
    angle = np.linspace(-0.5, 0.5, frames)
    affine = np.zeros((frames, 2, 4))
    affine[:, 0, 0], affine[:, 0, 2] = 90 * np.cos(angle), 90 * np.sin(angle)
    affine[:, 1, 1], affine[:, :, 3] = -90, (310.0, 205.5)
    return affine


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("posed", [False, True])
def test_files_lose_nothing(tmp_path: Path, suffix: str, posed: bool) -> None:
    motion = talking(7, rate=30000 / 1001)
    motion = motion.to_image(turning(7)) if posed else motion
    path = tmp_path / f"mon élan 1{suffix}"
    motion.save(path)
    again = Motion.load(path)
    assert again.space == motion.space
    for name in ("landmarks", "times", "identity", "affine"):
        saved, loaded = getattr(motion, name), getattr(again, name)
        assert (saved is None and loaded is None) or np.array_equal(saved, loaded)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_motion_files_serve_as_landmark_files(tmp_path: Path, suffix: str) -> None:
    from moditalker.faces.files import load_landmarks

    motion = talking(3).to_image(turning(3))
    motion.save(tmp_path / f"motion{suffix}")
    assert np.array_equal(load_landmarks(tmp_path / f"motion{suffix}"), motion.landmarks)


def test_csv_survives_a_spreadsheet(tmp_path: Path) -> None:
    """Spreadsheet programs pad rows with commas, add a byte order mark and quote cells."""
    motion = talking(3)
    motion.save(tmp_path / "motion.csv")
    lines = (tmp_path / "motion.csv").read_text(encoding="utf-8").splitlines()
    assert lines[3].startswith("time,x0,y0,z0,x1") and lines[3].endswith("x67,y67,z67")
    padded = [line if line.startswith("time") else line + ",,," for line in lines]
    padded[1] = '"# space","frontal",,'
    (tmp_path / "saved.csv").write_text("\ufeff" + "\r\n".join(padded), encoding="utf-8")
    assert np.array_equal(Motion.load(tmp_path / "saved.csv").landmarks, motion.landmarks)


def broken(tmp_path: Path, suffix: str, change: str) -> Path:
    """A motion file with one fault."""
    path = tmp_path / f"broken{suffix}"
    talking(5).save(path)
    if change == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif change == "empty":
        path.write_bytes(b"")
    else:
        old, new = change.split("->")
        path.write_text(path.read_text("utf-8").replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("suffix", "change", "complaint"),
    [
        (".npz", "truncated", "damaged"),
        (".npz", "empty", "damaged"),
        (".json", "truncated", "damaged"),
        (".json", '"times":[0.0,0.04->"times":[0.0,0.0', "frame 1 at 0 s follows 0 s"),
        (".json", '"space":"frontal"->"space":"side"', "'side'"),
        (".json", '"times"->"seconds"', "lacks times"),
        (".json", '"version":1->"version":7', "version 7"),
        (".json", '"times":[0.0,->"times":[', r"times has the shape \(4,\); \(5,\)"),
        (".csv", "truncated", "row is cut off"),
        (".csv", "empty", "columns are missing"),
        (".csv", ",z67->,other", "first: z67"),
        (".csv", "# space,frontal->#", "lacks space"),
        (".csv", "0.04,->0.04,nan,", "not finite .frame 1, jaw_0"),
        (".csv", "0.04,->soon,", "soon"),
    ],
)
def test_faults_in_files_are_named(
    tmp_path: Path, suffix: str, change: str, complaint: str
) -> None:
    path = broken(tmp_path, suffix, change)
    with pytest.raises(MotionFileError, match=complaint) as caught:
        Motion.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_endings_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MotionFileError, match=r"\.npz, \.csv, \.json, not '\.txt'"):
        talking(2).save(tmp_path / "motion.txt")
    with pytest.raises(MotionFileError, match="no such file"):
        Motion.load(tmp_path / "absent.csv")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    motion = talking(2)
    with pytest.raises(OutputError, match="cannot write"):
        motion.save(tmp_path / "no folder" / "motion.csv")
    assert not list(tmp_path.iterdir())


def test_arrays_that_contradict_each_other_are_refused() -> None:
    face = mean_face()
    with pytest.raises(MotionFileError, match=r"landmarks has the shape \(2, 67, 3\)"):
        Motion(np.zeros((2, 67, 3)), np.arange(2), "frontal", face)
    with pytest.raises(MotionFileError, match="no frames"):
        Motion(np.zeros((0, 68, 3)), np.zeros(0), "frontal", face)
    with pytest.raises(MotionFileError, match="2 frames need maps"):
        Motion(np.stack([face, face]), np.arange(2), "frontal", face).to_image(turning(3))
    with pytest.raises(MotionFileError, match="already posed"):
        scale_lips(talking(2).to_image(turning(2)), 2.0)


@pytest.mark.parametrize("rate", [15.0, 24000 / 1001, 30.0, 60000 / 1001])
def test_resampling_is_accurate_on_speech_like_motion(rate: float) -> None:
    times, wanted = np.arange(75) / 25, np.arange(0.2, 2.7, 1 / rate)

    def opening(seconds: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * 3 * seconds) + 0.5 * np.sin(2 * np.pi * 1.3 * seconds + 1)

    landmarks = np.repeat(mean_face()[None], 75, axis=0)
    landmarks[:, 8, 1] = opening(times)
    motion = Motion(landmarks, times, "frontal", mean_face()).resample(wanted)
    assert np.abs(motion.landmarks[:, 8, 1] - opening(wanted)).max() < 0.015
    assert np.allclose(motion.landmarks[:, 0], mean_face()[0], atol=1e-6)
    assert np.array_equal(motion.times, wanted)


def test_resampling_at_uneven_times_holds_the_edges_and_never_rings() -> None:
    times = np.cumsum([0.0, 0.04, 0.02, 0.06, 0.04, 0.04, 0.1, 0.04, 0.03, 0.04])
    landmarks = np.zeros((10, 68, 3), np.float32)
    landmarks[5:] = 1
    motion = Motion(landmarks, times, "frontal", mean_face())
    step = motion.resample(np.linspace(-1, 2, 400)).landmarks[:, 0, 0]
    assert step.min() == 0 and step.max() == 1 and np.diff(step).min() > -1e-6


def test_resampling_at_its_own_times_changes_nothing() -> None:
    motion = talking(30)
    assert motion.resample(motion.times.copy()) is motion
    both = np.union1d(motion.times, motion.times + 0.007)
    landmarks = motion.resample(both).landmarks[np.isin(both, motion.times)]
    assert np.allclose(landmarks, motion.landmarks, atol=1e-7)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_frames_resample(frames: int) -> None:
    motion = talking(frames).to_image(turning(frames))
    later = motion.resample(np.array([-1.0, 0.01, 5.0]))
    assert np.allclose(later.landmarks[[0, 2]], motion.landmarks[[0, -1]], atol=1e-4)
    assert later.affine is not None and later.affine.shape == (3, 2, 4)


def test_posing_applies_the_map_and_keeps_depth_in_pixels() -> None:
    motion, affine = talking(9), turning(9)
    posed = motion.to_image(affine)
    assert (
        posed.space == "image" and posed.affine is not None and np.array_equal(posed.affine, affine)
    )
    assert np.array_equal(posed.landmarks[..., :2], apply_affine(affine, motion.landmarks))
    lengths = [
        np.linalg.norm(face[:, 36] - face[:, 45], axis=-1)
        for face in (motion.landmarks, posed.landmarks)
    ]
    assert np.allclose(lengths[1], 90 * lengths[0], rtol=1e-4)
    assert np.allclose(posed.landmarks[4, 30, 2], 90 * motion.landmarks[4, 30, 2], rtol=1e-5)


def test_controls_change_nothing_at_their_defaults() -> None:
    motion = talking()
    silence = np.zeros(len(motion))
    for controlled in (
        scale_lips(motion),
        smooth(motion),
        close_when_silent(motion, silence, amount=0.0),
        close_when_silent(motion, np.ones(len(motion))),
    ):
        assert np.array_equal(controlled.landmarks, motion.landmarks)


def test_lip_scale_acts_on_the_residual_of_lips_and_jaw() -> None:
    motion = talking()
    scaled = scale_lips(motion, 1.5)
    lips, others = list(LIP_GROUP), list(NON_LIP_GROUP)
    assert np.allclose(scaled.residual[:, lips], 1.5 * motion.residual[:, lips], atol=1e-6)
    assert np.array_equal(scaled.landmarks[:, others], motion.landmarks[:, others])
    assert np.allclose(scale_lips(motion, 0.0).landmarks[:, lips], motion.identity[lips])


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_senseless_controls_are_refused(value: float) -> None:
    for control in (scale_lips, smooth):
        with pytest.raises(MotionFileError, match="must be 0 or more"):
            control(talking(3), value)


def test_smoothing_calms_tremble_and_keeps_slow_motion() -> None:
    motion = talking()
    calm = smooth(motion, 0.04)
    tremble = [np.abs(np.diff(m.landmarks[:, :48], 2, axis=0)).mean() for m in (motion, calm)]
    assert tremble[1] < 0.4 * tremble[0]
    assert np.corrcoef(mouth_opening(motion.landmarks), mouth_opening(calm.landmarks))[0, 1] > 0.95


def words(times: np.ndarray) -> np.ndarray:
    """Voice from 1.2 to 1.9 s and from 2.1 to 2.8 s."""
    spoken = ((times >= 1.2) & (times < 1.9)) | ((times >= 2.1) & (times < 2.8))
    return spoken.astype(np.float64)


def test_silent_mouths_close_and_words_stay_whole() -> None:
    motion = talking()
    gated = close_when_silent(motion, words(motion.times))
    opening, whole = mouth_opening(gated.landmarks), mouth_opening(motion.landmarks)
    silent = (motion.times < 0.9) | (motion.times > 3.15)
    assert opening[silent].max() <= 0.05 * np.percentile(whole, 95)
    speech = (motion.times >= 1.2 - 0.15) & (motion.times < 2.9)
    assert np.array_equal(gated.landmarks[speech], motion.landmarks[speech])
    others = list(NON_LIP_GROUP)
    assert np.array_equal(gated.landmarks[:, others], motion.landmarks[:, others])


def test_the_silence_gate_eases() -> None:
    wide = scale_lips(talking(), 0.0)
    landmarks = wide.landmarks.copy()
    landmarks[:, JAW_AND_LOWER_LIP, 1] -= 0.15
    wide = replace(wide, landmarks=landmarks)
    opening = mouth_opening(close_when_silent(wide, words(wide.times)).landmarks)
    assert np.abs(np.diff(opening)).max() < 0.55 * opening.max()
    half = mouth_opening(close_when_silent(wide, np.zeros(100), amount=0.5).landmarks)
    assert np.allclose(half, 0.5 * mouth_opening(wide.landmarks), atol=0.01)


def test_an_identity_with_an_open_mouth_is_closed_by_its_jaw() -> None:
    face = talking(20).landmarks[4]
    shut = closed_mouth(face)
    assert mouth_opening(shut) < 1e-6 < mouth_opening(face)
    assert shut[8, 1] > face[8, 1] and np.array_equal(shut[[0, 16, 48, 54]], face[[0, 16, 48, 54]])
    assert shut[57, 1] < shut[66, 1] and shut[51, 1] > shut[62, 1]  # lips keep their thickness


def test_voice_activity_of_another_length_is_refused() -> None:
    with pytest.raises(MotionFileError, match="voice activity"):
        close_when_silent(talking(5), np.zeros(4))
