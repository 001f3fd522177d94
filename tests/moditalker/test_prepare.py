import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import moditalker
from moditalker.errors import DatasetError, SettingsError
from moditalker.prepare import prepare
from moditalker.prepare.clips import at_25_hz, split_shots
from moditalker.prepare.sources import find_sources

EXAMPLE = Path(moditalker.__file__).parent / "assets" / "example" / "astronaut.mp4"


def test_a_video_becomes_a_clip_once(tmp_path: Path) -> None:
    videos, out = tmp_path / "v ü", tmp_path / "out"
    videos.mkdir()
    shutil.copy(EXAMPLE, videos / "astronaut.mp4")
    (videos / "broken.mp4").write_bytes(b"no video")
    entries = {entry.id: entry for entry in prepare([videos], out, workers=1, quiet=True)}
    assert entries["astronaut"].status == "kept" and entries["astronaut"].frames == 75
    assert entries["broken"].status == "left_out" and entries["broken"].reason
    motion = np.load(out / "clips" / "astronaut" / "motion.npz")
    assert motion["landmarks"].shape == motion["frontal"].shape == (75, 68, 3)
    assert motion["landmarks"][..., :2].min() > 0 and motion["landmarks"][..., :2].max() < 256
    made = (out / "clips" / "astronaut" / "crop.mp4").stat().st_mtime_ns
    prepare([videos], out, workers=1, quiet=True)
    lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and {json.loads(line)["id"] for line in lines} == set(entries)
    assert (out / "clips" / "astronaut" / "crop.mp4").stat().st_mtime_ns == made


def test_folders_of_lrs3_and_hdtf_name_their_people(tmp_path: Path) -> None:
    for name in ("lrs3/0Fi83BHQsMA/00002.mp4", "hdtf/WDA_AdamSchiff_000.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {source.person: source.name for source in find_sources([tmp_path])}
    assert found == {
        "0Fi83BHQsMA": "lrs3-0Fi83BHQsMA-00002",
        "WDA_AdamSchiff": "hdtf-WDA_AdamSchiff_000",
    }


def test_every_rate_becomes_25_hz_by_the_nearest_frame() -> None:
    assert at_25_hz(np.arange(30) / 30, 1.0).tolist()[:6] == [0, 1, 2, 4, 5, 6]
    assert len(at_25_hz(np.arange(60) / 59.94, 60 / 59.94)) == 25
    assert at_25_hz(np.arange(25) / 25, 1.0).tolist() == list(range(25))


def test_a_cut_splits_shots() -> None:
    pictures = np.zeros((40, 4, 4), np.float32)
    pictures[15:] = 120
    assert split_shots(pictures) == [(0, 15), (15, 40)]


def test_mistakes_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        prepare([tmp_path / "none"], tmp_path / "out", quiet=True)
    shutil.copy(EXAMPLE, tmp_path / "a.mp4")
    with pytest.raises(SettingsError, match="process or ray"):
        prepare([tmp_path / "a.mp4"], tmp_path / "out", engine="threads", quiet=True)
