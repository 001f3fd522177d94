from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from moditalker.aligner import CROP_CENTRE, CROP_SIDE, CropWindows
from moditalker.composite import Compositor
from moditalker.errors import SettingsError
from moditalker.face_mask import LowerFaceMask
from moditalker.landmarks import EYES, JAW, MOUTH, NOSE_BASE, mean_face

SIZE = 256
CHIN_AND_JAW = [*range(4, 13)]


def face_points(
    opening: float = 0.0, yaw: float = 0.0, roll: float = 0.0, pitch: float = 0.0, size: int = SIZE
) -> np.ndarray:
    """Landmarks (68, 2) in a crop of the mean face, jaw lowered and head turned."""
    points = mean_face().astype(np.float64)
    points[[*range(3, 14), *range(55, 60), 65, 66, 67], 1] -= opening
    points -= CROP_CENTRE
    for angle, (first, second) in ((yaw, (0, 2)), (pitch, (1, 2)), (roll, (0, 1))):
        turn = np.eye(3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = np.sin(angle), -np.sin(angle)
        points = points @ turn.T
    return points[:, :2] * [size / CROP_SIDE, -size / CROP_SIDE] + (size - 1) / 2


def skin_picture(height: int = 360, width: int = 480) -> np.ndarray:
    """A picture like skin: soft light, fine grain, all in warm tones."""
    noise = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    light = 150 + 25 * np.sin(columns / 90) + 20 * np.cos(rows / 70)
    grain = gaussian_filter(noise.normal(size=(height, width)), 0.7) * 6
    picture = (light + grain)[..., None] * np.array([1.1, 0.85, 0.7])
    return np.clip(picture, 0, 255).round().astype(np.uint8)


WINDOW = CropWindows(np.array([[241.3, 178.8]]), np.array([300.0]))


def generated_from(crop: np.ndarray, shift: float = 0.0, cast: float = 0.0) -> np.ndarray:
    """A crop as a decoder would return it: blurred, brighter, and with a colour cast."""
    soft = gaussian_filter(crop.astype(np.float64), (1.2, 1.2, 0))
    return np.clip(soft + shift + np.array([cast, 0, -cast]), 0, 255).round().astype(np.uint8)


def compose(
    frame: np.ndarray,
    generated: np.ndarray,
    opening: float = 0.0,
    window: CropWindows = WINDOW,
    compositor: Compositor | None = None,
) -> np.ndarray:
    """One frame through a compositor."""
    size = len(generated)
    return (compositor or Compositor()).compose(
        frame,
        generated,
        window.extract(frame, 0, size),
        face_points(size=size),
        face_points(opening, size=size),
        window.window_box(0),
    )


POSES = [
    {},
    {"opening": 0.2},
    {"yaw": 0.5},
    {"yaw": -0.7, "opening": 0.15},
    {"roll": 0.4},
    {"pitch": 0.35},
    {"pitch": -0.35, "opening": 0.1},
]


@pytest.mark.parametrize("pose", POSES)
def test_mask_holds_mouth_and_chin_of_both_faces_and_spares_eyes(pose: dict[str, float]) -> None:
    generated = face_points(**pose)  # type: ignore[arg-type]
    source = face_points(**{**pose, "opening": 0.0})  # type: ignore[arg-type]
    mask = LowerFaceMask(0.04)(source, generated, SIZE)

    def weight(points: np.ndarray) -> np.ndarray:
        columns, rows = np.round(points).astype(int).clip(0, SIZE - 1).T
        return mask[rows, columns]

    for points in (source, generated):
        assert weight(points[MOUTH]).min() > 0.97
        assert weight(points[[7, 8, 9]]).min() > 0.93
        below = points[CHIN_AND_JAW]
        assert weight(below[below[:, 1] > points[[48, 54], 1].max()]).min() > 0.6
    assert weight(source[EYES]).max() == 0
    assert weight(source[[NOSE_BASE]]).max() < 0.1
    assert mask.min() >= 0 and mask.max() <= 1
    assert not any(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def test_mask_reaches_below_the_lower_chin() -> None:
    shut, wide = face_points(), face_points(0.15)
    for pair in ((shut, wide), (wide, shut)):
        mask = LowerFaceMask(0.04)(*pair, SIZE)
        chin = np.round(wide[8]).astype(int)
        assert mask[chin[1] + 4, chin[0]] > 0.9


def test_mask_follows_a_growing_jaw_at_once_and_a_shrinking_one_slowly() -> None:
    shut, wide = face_points(), face_points(0.15)
    maker = LowerFaceMask(0.04)
    for _ in range(30):
        before = maker(shut, shut, SIZE)
    chin = np.round(wide[8]).astype(int)
    assert maker(shut, wide, SIZE)[chin[1], chin[0]] > 0.9
    masks = [maker(shut, shut, SIZE) for _ in range(30)]
    assert np.abs(masks[0] - maker(shut, wide, SIZE)).max() < 0.6
    assert np.abs(masks[-1] - before).max() < 0.01


def test_mask_does_not_tremble() -> None:
    noise, maker = np.random.default_rng(0), LowerFaceMask(0.04)
    masks = []
    for _ in range(20):
        source, generated = face_points() + noise.normal(size=(2, 68, 2)) * 0.3
        masks.append(maker(source, generated, SIZE))
    assert np.abs(np.diff(masks[4:], axis=0)).max() < 0.1


def test_pixels_outside_the_mask_stay_as_they_are() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (360, 480, 3), dtype=np.uint8)
    kept, generated = frame.copy(), np.full((SIZE, SIZE, 3), 90, np.uint8)
    result = compose(frame, generated, opening=0.1)
    assert np.array_equal(frame, kept)
    changed = np.argwhere((result != frame).any(axis=-1))
    x0, y0, side = WINDOW.window_box(0)
    mask = LowerFaceMask(0.04)(face_points(), face_points(0.1), SIZE)
    rows, columns = np.round((changed - [y0, x0]) * SIZE / side - 0.5).astype(int).T
    near = gaussian_filter(mask, 2)[rows, columns]
    assert len(changed) > 1000 and near.min() > 0
    nose = int(y0 + face_points()[NOSE_BASE, 1] * side / SIZE) - 1
    assert np.array_equal(result[:nose], frame[:nose])


@pytest.mark.parametrize("side", [140.0, 300.0, 330.7])
@pytest.mark.parametrize("size", [64, 256])
def test_the_sources_own_crop_gives_back_the_frame(side: float, size: int) -> None:
    """So the paste is the exact inverse of the crop, with no loss of detail."""
    frame = np.random.default_rng(1).integers(0, 256, (360, 480, 3), dtype=np.uint8)
    window = CropWindows(np.array([[200.4, 150.9]]), np.array([side]))
    result = compose(frame, window.extract(frame, 0, size), window=window)
    assert np.abs(result.astype(int) - frame).max() <= 1


def test_paste_lands_where_the_crop_was_taken() -> None:
    frame = skin_picture()
    x0, y0, side = WINDOW.window_box(0)
    generated = WINDOW.extract(frame, 0).copy()
    mouth = face_points()[62]
    dot = np.hypot(*(np.mgrid[:SIZE, :SIZE] - mouth[::-1, None, None])) < 6
    generated[dot] = (20, 20, 20)
    dark = 80 - compose(frame, generated)[..., 1].astype(np.float64).clip(0, 80)
    dark[: int(y0)] = 0
    rows, columns = np.mgrid[:360, :480]
    centre = np.array([(columns * dark).sum(), (rows * dark).sum()]) / dark.sum()
    assert np.allclose(centre, np.array([x0, y0]) + (mouth + 0.5) * side / SIZE, atol=0.3)


def edge_step(picture: np.ndarray, frame: np.ndarray) -> float:
    """The largest step of the soft difference from the frame: what an eye would take for a seam."""
    difference = gaussian_filter(picture.astype(np.float64) - frame, (2, 2, 0))
    return float(max(np.abs(np.diff(difference, axis=axis)).max() for axis in (0, 1)))


def test_brightness_and_cast_leave_no_seam() -> None:
    frame = skin_picture()
    generated = generated_from(WINDOW.extract(frame, 0), shift=8, cast=4)
    plain = compose(frame, generated, compositor=Compositor(colour_match=False, keep_texture=False))
    matched = compose(frame, generated)
    assert edge_step(matched, frame) < 0.2 * edge_step(plain, frame)
    assert np.abs(gaussian_filter(matched.astype(float) - frame, (3, 3, 0))).max() < 1.5


def test_texture_is_kept_where_the_pictures_agree() -> None:
    frame = skin_picture()
    result = compose(frame, generated_from(WINDOW.extract(frame, 0), shift=8))
    area = np.s_[200:240, 200:280]
    grain = [picture[area][..., 1].astype(float) for picture in (frame, result)]
    grain = [picture - gaussian_filter(picture, 3) for picture in grain]
    assert 0.9 < grain[1].std() / grain[0].std() < 1.1


def test_a_different_mouth_is_the_generated_one() -> None:
    frame, mouth = skin_picture(), np.round(face_points()[66]).astype(int)
    generated = generated_from(WINDOW.extract(frame, 0), shift=8)
    generated[mouth[1] - 8 : mouth[1] + 9, mouth[0] - 20 : mouth[0] + 21] = (60, 20, 25)
    result = compose(frame, generated, opening=0.1)
    x0, y0, side = WINDOW.window_box(0)
    column, row = (round(float(v)) for v in (mouth + 0.5) * side / SIZE + (x0, y0))
    # Colours are matched by the skin, which is 8 levels too bright.
    assert np.abs(result[row, column].astype(int) - [52, 12, 17]).max() <= 6


def test_a_generators_flicker_is_taken_out() -> None:
    frame, compositor = skin_picture(), Compositor(keep_texture=False)
    crop = WINDOW.extract(frame, 0)
    spot = np.s_[200:240, 200:280]
    means = [
        compose(frame, generated_from(crop, shift), compositor=compositor)[spot].mean()
        for shift in (5, 8, 4, 9, 6)
    ]
    assert np.ptp(means) < 1.2


def test_a_new_shot_starts_afresh() -> None:
    frame, compositor = skin_picture(), Compositor()
    crop = WINDOW.extract(frame, 0)
    first = compose(frame, generated_from(crop, 8), compositor=compositor)
    compose(frame, generated_from(crop, -20, 9), opening=0.2, compositor=compositor)
    assert not np.array_equal(compose(frame, generated_from(crop, 8), compositor=compositor), first)
    compositor.reset()
    assert np.array_equal(compose(frame, generated_from(crop, 8), compositor=compositor), first)


@pytest.mark.parametrize("centre", [(20.0, 30.0), (470.0, 350.0), (-400.0, 100.0)])
def test_windows_beyond_the_frame_are_cut(centre: tuple[float, float]) -> None:
    frame = skin_picture()
    window = CropWindows(np.array([centre]), np.array([300.0]))
    result = compose(frame, generated_from(window.extract(frame, 0)), window=window)
    assert result.shape == frame.shape and result.dtype == np.uint8


def test_senseless_feather_is_refused() -> None:
    with pytest.raises(SettingsError, match="feather is 0"):
        Compositor(feather=0)


def test_jaw_is_inside_the_crop_it_is_tested_on() -> None:
    points = face_points(0.2)[JAW]
    assert points.min() > 0 and points.max() < SIZE


def test_nothing_of_the_sources_mouth_shows() -> None:
    """The leak that users of mouth inpainting complain of: the template's teeth under new lips."""
    frame, noise = skin_picture(), np.random.default_rng(2)
    teeth = WINDOW.extract(frame, 0).copy()
    x0, y0, side = WINDOW.window_box(0)
    low, high = ((face_points()[[48, 57]] + 0.5) * side / SIZE + (x0, y0)).astype(int)
    area = np.s_[low[1] - 8 : low[1] + 8, low[0] + 10 : high[0]]
    pattern = noise.choice([-30, 30], size=frame[area].shape[:2])
    frame[area] = np.clip(frame[area] + pattern[..., None], 0, 255)
    result = compose(frame, generated_from(teeth), opening=0.05)
    left = result[area].mean(axis=-1) - gaussian_filter(result[area].mean(axis=-1), 3)
    assert abs((left * pattern).mean()) < 0.05 * 30**2
