"""Landmark files as input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from moditalker.errors import MotionFileError
from moditalker.faces import load_landmarks
from moditalker.landmarks import mean_face
from moditalker.motion import Motion

FRAMES = np.stack([mean_face() + 0.01 * frame for frame in range(3)]).astype(np.float32)


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    np.savez(tmp_path / "b.npz", landmarks=FRAMES[0, :, :2])
    assert np.array_equal(load_landmarks(tmp_path / "a.npy"), FRAMES)
    flat = load_landmarks(tmp_path / "b.npz")
    assert np.array_equal(flat[:, :2], FRAMES[0, :, :2]) and not flat[:, 2].any()


@pytest.mark.parametrize("ending", ["npz", "csv", "json"])
def test_every_motion_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"bewegung ä.{ending}"
    Motion(FRAMES, np.arange(3) / 25, "frontal", FRAMES[0]).save(path)
    assert np.allclose(load_landmarks(path), FRAMES, atol=1e-6)


def test_json_list(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(FRAMES[0].tolist()))
    assert np.allclose(load_landmarks(tmp_path / "a.json"), FRAMES[0])


def test_csv_of_frames_and_of_points(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "frames.csv", FRAMES.reshape(3, -1), delimiter=",")
    np.savetxt(tmp_path / "points.csv", FRAMES[0], delimiter=",")
    assert np.allclose(load_landmarks(tmp_path / "frames.csv"), FRAMES)
    assert np.allclose(load_landmarks(tmp_path / "points.csv"), FRAMES[0])


def test_csv_of_openface(tmp_path: Path) -> None:
    names = ["frame", " confidence"] + [f" {axis}_{n}" for axis in "xy" for n in range(68)]
    rows = [[1, 0.98, *FRAMES[0, :, 0], *FRAMES[0, :, 1]]]
    lines = [",".join(names)] + [",".join(map(str, row)) for row in rows]
    (tmp_path / "openface.csv").write_text("\n".join(lines))
    assert np.allclose(load_landmarks(tmp_path / "openface.csv")[..., :2], FRAMES[:1, :, :2])


def test_pts_counts_from_one(tmp_path: Path) -> None:
    body = "\n".join(f"{x + 1:.6f} {y + 1:.6f}" for x, y in FRAMES[0, :, :2])
    (tmp_path / "a.pts").write_text(f"version: 1\nn_points: 68\n{{\n{body}\n}}\n")
    assert np.allclose(load_landmarks(tmp_path / "a.pts")[:, :2], FRAMES[0, :, :2], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "landmarks come as"),
        ("a.csv", "", "not a landmark file"),
        ("a.csv", "1,2,three\n", "not a landmark file"),
        ("a.csv", "1,2,3\n4,5,6\n", r"holds \(2, 3\)"),
        ("a.json", "{}", "not a landmark file"),
        ("a.json", "[[1, 2], [3]]", "not a landmark file"),
        ("a.npz", "nothing", "not a landmark file"),
        ("a.npy", "", "not a landmark file"),
        ("a.pts", "no braces", "not a landmark file"),
    ],
)
def test_wrong_files_say_what_is_wrong(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(MotionFileError, match=message) as caught:
        load_landmarks(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_infinite_numbers(tmp_path: Path) -> None:
    with pytest.raises(MotionFileError, match="no such file"):
        load_landmarks(tmp_path / "gone.npy")
    np.save(tmp_path / "a.npy", np.full((68, 3), np.nan))
    with pytest.raises(MotionFileError, match="not finite"):
        load_landmarks(tmp_path / "a.npy")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"landmarks": 1}], dtype=object))
    with pytest.raises(MotionFileError, match="not a landmark file"):
        load_landmarks(tmp_path / "a.npy")
