"""The landmarks' groups, contours and mean face."""

from __future__ import annotations

import numpy as np
import pytest

from moditalker.landmarks import (
    CONTOURS,
    COUNT,
    INNER_LIP_PAIRS,
    LIP_GROUP,
    MIRROR,
    NAMES,
    NON_LIP_GROUP,
    STABLE_POINTS,
    STABLE_WEIGHTS,
    eye_distance,
    mean_face,
    mouth_opening,
)


def test_the_two_groups_share_all_points() -> None:
    assert (len(LIP_GROUP), len(NON_LIP_GROUP)) == (37, 31)
    assert sorted(LIP_GROUP + NON_LIP_GROUP) == list(range(COUNT))


def test_contours_name_every_point_once() -> None:
    assert sorted(set(sum(CONTOURS.values(), ()))) == list(range(COUNT))
    assert len(set(NAMES)) == COUNT
    assert NAMES[8] == "jaw_8" and NAMES[62] == "inner_lips_2"
    for closed in ("right_eye", "left_eye", "outer_lips", "inner_lips"):
        assert CONTOURS[closed][0] == CONTOURS[closed][-1]


def test_speech_moves_no_stable_point() -> None:
    assert not set(STABLE_POINTS) & set(LIP_GROUP)
    assert len(STABLE_POINTS) == len(STABLE_WEIGHTS)


def test_the_mean_face_spans_the_canonical_space() -> None:
    mean = mean_face()
    assert mean.shape == (COUNT, 3) and mean.dtype == np.float32
    assert eye_distance(mean) == pytest.approx(1.0, abs=1e-4)
    assert np.allclose((mean[36] + mean[45]) / 2, 0, atol=1e-4)
    assert mean[8, 1] < mean[62, 1] < mean[30, 1] < 0 < mean[19, 1], "y points up"
    assert mean[30, 2] == mean[:, 2].max(), "the nose tip is nearest to the viewer"
    assert np.allclose(mean[list(MIRROR)] * [-1, 1, 1], mean, atol=1e-4)


def test_the_mean_face_cannot_be_changed_by_a_caller() -> None:
    mean_face()[:] = 0
    assert mean_face().any()


def test_mouth_opening_grows_with_the_jaw() -> None:
    face = mean_face()
    assert mouth_opening(face) < 0.03, "the mean face's mouth is closed"
    opened = np.stack([face, face])
    opened[1, [lower for _, lower in INNER_LIP_PAIRS], 1] -= 0.2
    assert np.diff(mouth_opening(opened)) == pytest.approx(0.2, abs=0.02)
    assert mouth_opening(opened[..., :2]).shape == (2,)
