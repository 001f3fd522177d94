from __future__ import annotations

import numpy as np

from moditalker.landmarks import mean_face
from moditalker.motion import Motion
from moditalker.preview import draw_landmarks, picture_points, preview_frames


def motion(frames: int = 3) -> Motion:
    landmarks = np.repeat(mean_face()[None], frames, axis=0)
    landmarks[1:, [65, 66, 67], 1] -= 0.2
    return Motion(landmarks, np.arange(frames) / 25, "frontal", mean_face())


def test_preview_shows_each_frame_at_the_size_asked_for() -> None:
    frames = list(preview_frames(motion(), 256))
    assert [frame.shape for frame in frames] == [(256, 256, 3)] * 3
    assert all(frame.dtype == np.uint8 for frame in frames)
    assert np.array_equal(frames[1], frames[2]) and not np.array_equal(frames[0], frames[1])


def test_the_face_fills_the_picture_and_stands_upright() -> None:
    points = picture_points(motion(), 512)[0]
    assert points.min() > 0 and points.max() < 512
    assert np.ptp(points[:17, 0]) > 256
    assert points[8, 1] > points[30, 1] > points[27, 1]  # chin below nose tip below bridge
    assert points[0, 0] < points[16, 0]


def test_a_dot_is_centred_on_its_landmark() -> None:
    points = picture_points(motion(), 512)[0]
    image = draw_landmarks(points, 512).astype(int)
    x, y = np.round(points[8]).astype(int)
    patch = image[y - 5 : y + 6, x - 5 : x + 6].min(axis=-1).astype(float)
    rows, columns = np.mgrid[-5:6, -5:6]
    bright = np.where(patch > 170, patch, 0)
    centre = [(columns * bright).sum() / bright.sum(), (rows * bright).sum() / bright.sum()]
    assert np.allclose(centre, points[8] - (x, y), atol=0.5)


def test_edges_are_anti_aliased() -> None:
    image = draw_landmarks(picture_points(motion(), 512)[0], 512)
    row = image[256, :, 2].astype(int)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 200 and np.abs(np.diff(row)).max() < 200


def test_posed_motion_moves_in_a_still_picture() -> None:
    affine = np.zeros((3, 2, 4))
    affine[:, 0, 0], affine[:, 1, 1] = 80, -80
    affine[:, 0, 3] = [100, 150, 200]
    points = picture_points(motion().to_image(affine), 256)
    assert points[..., 0].min() > 0 and points[..., 0].max() < 256
    steps = np.diff(points[:, 30, 0])
    assert steps.min() > 10 and np.allclose(steps, steps[0], rtol=1e-4)


def test_landmarks_over_a_background_leave_the_rest_of_it() -> None:
    background = np.full((128, 128, 3), 77, np.uint8)
    image = draw_landmarks(picture_points(motion(), 128)[0], 128, background)
    assert (image[:5] == 77).all() and (image != 77).any()
    assert (background == 77).all()
