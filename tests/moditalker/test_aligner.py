"""Round trips of the aligner (DESIGN §5) on faces of known pose; the crop's calm and geometry."""

from __future__ import annotations

import numpy as np
import pytest

from moditalker.aligner import (
    CROP_SIDE,
    CropWindows,
    apply_affine,
    crop_windows,
    fit_affine,
    frontalize,
    pose_from_affine,
    shots_of,
    smooth_affine,
    with_depth,
)
from moditalker.landmarks import LIP_GROUP, NON_LIP_GROUP, STABLE_POINTS, eye_distance, mean_face


def rotations(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, 3, 3) from angles in radians."""

    def about(axis: int, angles: np.ndarray) -> np.ndarray:
        first, second = [other for other in range(3) if other != axis]
        turn = np.tile(np.eye(3), (len(angles), 1, 1))
        turn[:, first, first] = turn[:, second, second] = np.cos(angles)
        turn[:, first, second], turn[:, second, first] = -np.sin(angles), np.sin(angles)
        return turn

    return about(2, roll) @ about(0, pitch) @ about(1, yaw)


def posed(
    face: np.ndarray, rotation: np.ndarray, scale: np.ndarray, middle: np.ndarray
) -> np.ndarray:
    """Canonical faces (T, 68, 3) as image landmarks (T, 68, 3): y down, z towards the viewer."""
    turned = np.einsum("tij,tnj->tni", rotation, face) * scale[:, None, None]
    turned[..., 1] *= -1
    turned[..., :2] += middle[:, None]
    return turned


def talking_head(frames: int = 60, seed: int = 0) -> tuple[np.ndarray, ...]:
    """A face that speaks, at random poses: canonical, rotation, scale, middle."""
    generator = np.random.default_rng(seed)
    face = np.tile(mean_face().astype(float), (frames, 1, 1))
    face[:, list(LIP_GROUP)] += generator.normal(0, 0.05, (frames, len(LIP_GROUP), 3))
    angles = generator.uniform(-1, 1, (3, frames)) * np.array([[0.8], [0.5], [3.0]])
    scale = generator.uniform(60, 300, frames)
    return face, rotations(*angles), scale, generator.uniform(100, 900, (frames, 2))


def moving_affine(times: np.ndarray, yaw: np.ndarray, scale: float = 120.0) -> np.ndarray:
    """Maps of a head that turns."""
    zero = np.zeros_like(times)
    face = np.tile(mean_face(), (len(times), 1, 1))
    middle = np.full((len(times), 2), 400.0)
    return fit_affine(face, posed(face, rotations(yaw, zero, zero), zero + scale, middle))


def test_frontalization_takes_pose_and_scale_away_and_keeps_expression() -> None:
    face, *pose = talking_head()
    assert np.allclose(frontalize(posed(face, *pose)), face, atol=1e-5)


def test_frontalization_keeps_identity() -> None:
    face, *pose = talking_head()
    face += np.random.default_rng(5).normal(0, 0.03, (68, 3))
    frontal = frontalize(posed(face, *pose))
    still = list(NON_LIP_GROUP)
    assert np.allclose(frontal[1:, still], frontal[:1, still], atol=1e-4), "the same at every pose"
    assert np.abs(frontal - mean_face())[:, still].max() > 0.03, "and not the mean face"


def test_frontalization_of_a_frontal_face_changes_nothing() -> None:
    frontal = frontalize(mean_face() * [1, -1, 1])
    assert frontal.dtype == np.float32
    assert np.allclose(frontal, mean_face(), atol=1e-5)


def test_own_frontal_landmarks_return_to_the_detected_points() -> None:
    face, *pose = talking_head()
    image = posed(face + np.random.default_rng(3).normal(0, 0.02, face.shape), *pose)
    frontal = frontalize(image)
    returned = apply_affine(fit_affine(frontal, image), frontal)
    assert np.abs(returned - image[..., :2]).max() < 1e-2


def test_flat_landmarks_get_the_mean_faces_depth() -> None:
    face, *pose = talking_head()
    image = posed(face, *pose)
    flat = np.concatenate([image[..., :2], np.zeros_like(image[..., :1])], axis=-1)
    assert np.allclose(frontalize(with_depth(flat))[..., :2], face[..., :2], atol=0.15)
    assert np.allclose(with_depth(flat)[:, 27:48], image[:, 27:48], atol=1e-2)
    assert with_depth(image) is image


def test_pose_of_known_heads() -> None:
    face, rotation, scale, middle = talking_head()
    pose = pose_from_affine(fit_affine(face, posed(face, rotation, scale, middle)))
    assert np.allclose(pose.rotation, rotation, atol=1e-5)
    assert np.allclose(pose.scale, scale, rtol=1e-5)
    assert np.allclose(pose.translation, middle, atol=1e-3)


@pytest.mark.parametrize("rate", [23.976, 25.0, 59.94])
def test_smoothing_takes_tremble_and_keeps_motion_within_one_percent(rate: float) -> None:
    times = np.arange(int(4 * rate)) / rate
    true = moving_affine(times, 0.3 * np.sin(2 * np.pi * 0.5 * times))
    face = np.tile(mean_face(), (len(times), 1, 1))
    clean = apply_affine(true, face)
    noise = np.random.default_rng(0).normal(0, 0.004 * 120, clean.shape)
    measured = fit_affine(face, clean + noise)
    smooth = smooth_affine(measured, times)
    stable = list(STABLE_POINTS)

    def tremble(affine: np.ndarray) -> float:
        off = apply_affine(affine, face)[:, stable] - clean[:, stable]
        return float(np.diff(off, axis=0).std())

    assert tremble(smooth) < 0.6 * tremble(measured)
    rms = np.sqrt(((apply_affine(smooth, face) - clean)[:, stable] ** 2).sum(-1).mean())
    assert rms < 0.01 * eye_distance(clean).mean()


def test_a_quick_turn_is_followed_within_one_percent() -> None:
    times = np.arange(100) / 25
    affine = moving_affine(times, 0.6 * np.sign(np.sin(4 * times)))
    face = np.tile(mean_face(), (100, 1, 1))
    moved = (apply_affine(smooth_affine(affine, times), face) - apply_affine(affine, face)) / 120
    assert np.sqrt((moved[:, list(STABLE_POINTS)] ** 2).sum(-1).mean()) < 0.01


def test_a_shot_cut_stays_sharp() -> None:
    times = np.arange(40) / 25
    affine = moving_affine(times, 0 * times)
    affine[20:, :, 3] += 150
    assert shots_of(affine).tolist() == [0] * 20 + [1] * 20
    assert np.allclose(smooth_affine(affine, times), affine, atol=1e-3)
    centres = crop_windows(affine, times).centres
    assert np.allclose(centres[:20], centres[0], atol=1e-3)
    assert np.allclose(centres[20] - centres[19], 150, atol=1e-3)


def test_one_frame_is_enough() -> None:
    affine = moving_affine(np.zeros(1), np.zeros(1))
    assert np.allclose(smooth_affine(affine), affine)
    assert crop_windows(affine).sides == pytest.approx([CROP_SIDE * 120])


def test_the_crop_is_calm_and_keeps_its_size() -> None:
    times = np.arange(200) / 25
    affine = moving_affine(times, 0.1 * np.sin(times))
    affine[..., 3] += np.random.default_rng(0).normal(0, 0.5, (200, 2))
    affine[..., :3] *= np.random.default_rng(1).normal(1, 0.004, (200, 1, 1))
    windows = crop_windows(affine, times)
    assert len(windows) == 200
    assert np.ptp(windows.sides) == 0
    assert np.abs(np.diff(windows.centres, n=2, axis=0)).max() * 256 / windows.sides[0] < 0.1


def test_the_crop_follows_a_face_that_comes_closer() -> None:
    times = np.arange(100) / 25
    affine = moving_affine(times, 0 * times) * np.linspace(1, 2, 100)[:, None, None]
    sides = crop_windows(affine, times).sides
    assert sides[-1] > 1.8 * sides[0] and np.abs(np.diff(sides, 2)).max() < 0.5


def test_crop_points_and_crop_maps_agree_with_the_pixels() -> None:
    windows = CropWindows(np.array([[60.25, 47.5]]), np.array([64.0]))
    image = np.zeros((100, 120, 3), np.uint8)
    image[40, 70] = 255
    crop = windows.extract(image, 0)[..., 0].astype(float)
    rows, columns = np.mgrid[:256, :256]
    seen = [(grid * crop).sum() / crop.sum() for grid in (columns, rows)]
    point = windows.to_crop(np.array([[[70.0, 40.0, 2.0]]]))[0, 0]
    assert seen == pytest.approx(point[:2], abs=0.05)
    assert point[2] == pytest.approx(2.0 * 256 / 64)
    x0, y0, side = windows.window_box(0)
    back = np.array([x0, y0]) + (point[:2] + 0.5) * side / 256
    assert back == pytest.approx([70, 40], abs=1e-3)


def test_maps_to_the_crop_give_the_same_points() -> None:
    face, *pose = talking_head(10)
    image = posed(face, *pose)
    affine = fit_affine(face, image)
    windows = CropWindows(image[..., :2].mean(axis=1), np.full(10, 333.0))
    mapped = apply_affine(windows.affine_to_crop(affine), face)
    assert np.allclose(mapped, windows.to_crop(image)[..., :2], atol=1e-2)


def test_an_aligned_window_copies_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    windows = CropWindows(np.array([[149.5, 139.5]]), np.array([256.0]))
    assert np.array_equal(windows.extract(image, 0), image[12:268, 22:278])


@pytest.mark.parametrize("side", [40.0, 256.0, 900.0])
def test_outside_the_frame_the_edge_is_repeated(side: float) -> None:
    image = np.full((80, 100, 3), 200, np.uint8)
    windows = CropWindows(np.array([[0.0, 79.0]]), np.array([side]))
    crop = windows.extract(image, 0)
    assert crop.shape == (256, 256, 3) and (crop == 200).all()


def test_a_smaller_crop_averages_the_texture_away() -> None:
    board = (np.indices((1024, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)
    windows = CropWindows(np.array([[511.5, 511.5]]), np.array([1024.0]))
    crop = windows.extract(np.repeat(board[..., None], 3, axis=2), 0)
    assert np.abs(crop.astype(int) - 127).max() <= 4
