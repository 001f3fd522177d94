"""Clips: every frame is drawn once, in order, whatever the batch, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from moditalker.landmarks import NOSE_BASE, mean_face
from moditalker.motion import Motion
from moditalker.presets import Networks, load_networks
from moditalker.progress import Progress
from moditalker.reference import Seen, posed, seen
from moditalker.rendering import Renderer, blended, pictures, video_tensor
from moditalker.settings import GenerateSettings, MToVSampling


class Source:
    """A reference whose frame i is of level i; it counts how many frames are alive."""

    def __init__(self, frames: int) -> None:
        self.frames, self.reads = frames, 0

    def __getitem__(self, index: int) -> np.ndarray:
        return np.full((120, 160, 3), index, np.uint8)

    def read(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        for index in indices:
            self.reads += 1
            yield self[index]


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_networks("debug")


def still_face(frames: int) -> Seen:
    """A face that does not move, at 25 frames a second."""
    face = (mean_face() * [30, -30, 30] + [80, 50, 0]).astype(np.float32)
    times = np.arange(frames) / 25
    return seen(posed(np.repeat(face[None], frames, axis=0), times), np.arange(frames), times)


def motionless(frames: int) -> Motion:
    faces = np.repeat(mean_face()[None], frames, axis=0)
    return Motion(faces, np.arange(frames) / 25, "frontal", mean_face())


def renderer(networks: Networks, **sampling: Any) -> Renderer:
    settings = GenerateSettings(mtov=MToVSampling(**{"steps": 1, **sampling}))
    return Renderer(networks, settings, 0, Progress(quiet=True))


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17, 30, 31, 61])
@pytest.mark.parametrize(("batch", "overlap"), [(1, 0), (2, 2), (3, 5)])
def test_every_frame_comes_once_and_in_order(
    networks: Networks, frames: int, batch: int, overlap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []

    def draw(self: Renderer, conditions: list[Tensor]) -> Tensor:
        assert len(conditions[0]) <= batch
        assert conditions[0].shape[1:] == (3, 16, 64, 64)
        return conditions[1]  # the pose frames: above the cut they have the source's level

    def compose(image: np.ndarray, drawn: np.ndarray, crop: np.ndarray, *rest: Any) -> np.ndarray:
        given.append(image)
        assert crop[0, 0, 0] == image[0, 0, 0] == drawn[0, 0, 0]
        return image

    monkeypatch.setattr(Renderer, "draw", draw)
    made = renderer(networks, batch=batch, overlap=overlap)
    monkeypatch.setattr(made.compositor, "compose", compose)
    source: Any = Source(frames)
    out = list(made.frames(source, still_face(frames), motionless(frames)))
    assert [int(frame[0, 0, 0]) for frame in out] == list(range(frames))
    assert source.reads == frames


def test_only_a_few_clips_are_read_ahead(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Renderer, "draw", lambda self, conditions: conditions[1])
    source: Any = Source(200)
    made = renderer(networks, batch=2, overlap=2).frames(
        source, still_face(200), motionless(200), crop_only=True
    )
    assert next(made).shape == (64, 64, 3)
    assert source.reads == 2 * 14 + 2


def test_neither_mouth_nor_jaw_of_the_reference_reaches_the_networks(networks: Networks) -> None:
    made, frames = renderer(networks), still_face(4)
    list(made.frames(Source(4), frames, motionless(4), crop_only=True))  # type: ignore[arg-type]
    crops = np.full((4, 64, 64, 3), 255, np.uint8)
    _, pose, _ = made.conditions(crops, np.arange(4))
    nose = int(made.posed.tracked[0, NOSE_BASE, 1])
    assert (pose[:, :, nose:] == 0).all() and (pose[:, :, : nose - 2] == 1).all()


def test_a_cut_begins_a_new_composite(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = still_face(6)
    frames.shown.affine[3:, :, 3] += 300
    monkeypatch.setattr(Renderer, "draw", lambda self, conditions: conditions[1])
    made = renderer(networks)
    resets: list[int] = []
    monkeypatch.setattr(made.compositor, "reset", lambda: resets.append(1))
    monkeypatch.setattr(made.compositor, "compose", lambda image, *rest: image)
    list(made.frames(Source(6), frames, motionless(6)))  # type: ignore[arg-type]
    assert len(resets) == 1


def test_overlapping_frames_fade_from_one_clip_to_the_next() -> None:
    old, new = [np.full((1, 1), 0, np.uint8)] * 3, [np.full((1, 1), 100, np.uint8)] * 5
    assert [int(frame[0, 0]) for frame in blended(old, new)] == [25, 50, 75, 100, 100]


def test_pictures_survive_the_way_to_the_networks_and_back() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    video = video_tensor(images)
    assert video.shape == (3, 2, 8, 8) and video.abs().max() <= 1
    np.testing.assert_array_equal(np.stack(pictures(video)), images)
    assert torch.equal(video_tensor(np.stack(pictures(video))), video)
