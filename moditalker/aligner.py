"""Frontalization, the affine aligner and the stable square crop (MoDiTalker A.2; DESIGN §5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from moditalker.landmarks import STABLE_POINTS, STABLE_WEIGHTS, mean_face
from moditalker.smoothing import smoothed

CROP_SIZE = 256
CROP_SIDE = 2.2  # the crop's side in outer-eye distances
CROP_CENTRE = (0.0, -0.55, 0.0)  # in the canonical space: about the philtrum
ZOOM = 1.1  # the crop keeps one size throughout a shot unless the face grows or shrinks by more
# Between two frames of one shot a head moves less than this, in outer-eye distances, and its size
# changes by a smaller factor than that.
CUT_MOVE, CUT_ZOOM = 0.5, 1.25
MOST_MOVED = 0.007  # by smoothing, in outer-eye distances; the detector's tremble is about 0.004
IMAGE_TO_RIGHT_HANDED = np.array([1.0, -1.0, 1.0])  # y down to y up


def frontalize(landmarks: np.ndarray) -> np.ndarray:
    """Image landmarks (..., 68, 3) in pixels to the canonical space: pose and scale gone, float32.

    The similarity that takes a face's stable points to the mean face's (Umeyama 1991) is applied to
    all of its points, so that expression and identity stay.
    """
    points = np.asarray(landmarks, np.float64) * IMAGE_TO_RIGHT_HANDED
    weights = np.array(STABLE_WEIGHTS) / sum(STABLE_WEIGHTS)
    stable, target = points[..., STABLE_POINTS, :], mean_face()[list(STABLE_POINTS)]
    centre = np.einsum("n,...nc->...c", weights, stable)[..., None, :]
    goal = target - weights @ target
    rotation, scale = rotation_and_scale(stable - centre, goal, weights)
    turned = np.einsum("...cd,...nd->...nc", rotation, points - centre)
    return (scale[..., None, None] * turned + weights @ target).astype(np.float32)


def rotation_and_scale(
    source: np.ndarray, goal: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (..., 3, 3) and scale (...) from centred points (..., N, 3) to centred (N, 3)."""
    left, values, right = np.linalg.svd(np.einsum("nc,n,...nd->...cd", goal, weights, source))
    sign = np.sign(np.linalg.det(left @ right))
    left[..., 2] *= sign[..., None]
    values[..., 2] *= sign
    spread = np.einsum("n,...nc->...", weights, source**2)
    return left @ right, values.sum(axis=-1) / spread


def with_depth(landmarks: np.ndarray) -> np.ndarray:
    """Image landmarks (T, 68, 3) whose depth is all 0, as of a flat file, with the mean face's.

    The mean face is posed as the stable points say; its depth is what a flat point cannot tell.
    """
    if np.any(landmarks[..., 2]):
        return landmarks
    mean = np.broadcast_to(mean_face(), landmarks.shape)
    pose = pose_from_affine(fit_affine(mean, landmarks))
    forward = pose.rotation[:, 2] * pose.scale[:, None]
    depth = np.einsum("tj,tnj->tn", forward, mean)
    return np.concatenate([landmarks[..., :2], depth[..., None]], axis=-1).astype(np.float32)


def fit_affine(frontal: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Weak-perspective maps (T, 2, 4) from frontal landmarks (T, 68, 3) to image ones (T, 68, 2|3).

    Least squares over the points that speech does not move, by their weights.
    """
    stable = list(STABLE_POINTS)
    weights = np.sqrt(STABLE_WEIGHTS)[:, None]
    points = np.asarray(frontal, np.float64)[:, stable]
    source = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
    goal = np.asarray(image, np.float64)[:, stable, :2]
    return np.swapaxes(np.linalg.pinv(source * weights) @ (goal * weights), 1, 2)


def apply_affine(affine: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Canonical landmarks (T, N, 3) to image points (T, N, 2), float32, by maps (T, 2, 4)."""
    linear = np.einsum("tij,tnj->tni", affine[..., :3], np.asarray(landmarks, np.float64))
    return (linear + affine[:, None, :, 3]).astype(np.float32)


def smooth_affine(
    affine: np.ndarray, times: np.ndarray | float = 25.0, *, seconds: float = 0.06
) -> np.ndarray:
    """Maps (T, 2, 4) without the detector's tremble; cuts stay sharp.

    `times` is (T,) seconds or frames per second; `seconds` as in `smoothed`, 0 changes nothing. A
    quick turn, which the filter would cut short, is smoothed less: the stable points stay within
    `MOST_MOVED` of where they were detected (root mean square over a moment).
    """
    shots = shots_of(affine)
    moved = smoothed(affine, times, seconds, degree=2, shots=shots) - affine
    stable = np.broadcast_to(mean_face()[list(STABLE_POINTS)], (len(moved), len(STABLE_POINTS), 3))
    squares = np.square(apply_affine(moved, stable)).sum(axis=-1).mean(axis=-1)
    squares /= pose_from_affine(affine).scale ** 2
    recent = smoothed(squares, times, 2 * seconds, degree=0, shots=shots)
    kept = np.minimum(1.0, MOST_MOVED / np.sqrt(np.maximum(recent, 1e-12)))
    return affine + kept[:, None, None] * moved


@dataclass(frozen=True)
class Pose:
    """Head pose of T frames under weak perspective."""

    rotation: np.ndarray
    "(T, 3, 3): canonical to camera axes (x right, y up, z towards the viewer)."
    scale: np.ndarray
    "(T,) pixels per outer-eye distance of the mean face."
    translation: np.ndarray
    "(T, 2) the canonical origin in image pixels."


def pose_from_affine(affine: np.ndarray) -> Pose:
    """Head pose of maps (T, 2, 4): the nearest scaled rotation to each linear part."""
    rows = np.asarray(affine, np.float64)[..., :3] * IMAGE_TO_RIGHT_HANDED[:2, None]
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    two = left @ right
    rotation = np.concatenate([two, np.cross(two[:, 0], two[:, 1])[:, None]], axis=1)
    return Pose(rotation, values.mean(axis=1), affine[..., 3])


def shots_of(affine: np.ndarray) -> np.ndarray:
    """Numbers (T,) that grow where the head jumps further than it can move: at shot cuts."""
    pose = pose_from_affine(affine)
    moves = np.linalg.norm(np.diff(pose.translation, axis=0), axis=1)
    zooms = np.abs(np.diff(np.log(pose.scale)))
    jumps = (moves > CUT_MOVE * pose.scale[1:]) | (zooms > np.log(CUT_ZOOM))
    return np.concatenate([[0], np.cumsum(jumps)])


@dataclass(frozen=True)
class CropWindows:
    """Axis-aligned squares in the image, one for each of T frames.

    In image coordinates, where a pixel's centre is an integer; so the window's upper left edge,
    `centre - side / 2`, is at -0.5 where it coincides with the frame's.
    """

    centres: np.ndarray
    "(T, 2) x, y."
    sides: np.ndarray
    "(T,) pixels."

    def __len__(self) -> int:
        return len(self.sides)

    def window_box(self, frame: int) -> tuple[float, float, float]:
        """x0, y0 and side of one window: x0, y0 is the outer edge of the crop's first pixel.

        Crop pixel c, of `size`, lies at `x0 + (c + 0.5) * side / size` in the image.
        """
        x0, y0 = self.corners[frame]
        return float(x0), float(y0), float(self.sides[frame])

    @property
    def corners(self) -> np.ndarray:
        """(T, 2) upper left edges."""
        return self.centres - self.sides[:, None] / 2

    def to_crop(self, points: np.ndarray, size: int = CROP_SIZE) -> np.ndarray:
        """Image points (T, N, 2|3) to crop pixels, float32; depth is scaled alike."""
        moved = np.array(points, dtype=np.float64)
        moved[..., :2] -= self.corners[:, None]
        moved *= (size / self.sides)[:, None, None]
        moved[..., :2] -= 0.5
        return moved.astype(np.float32)

    def affine_to_crop(self, affine: np.ndarray, size: int = CROP_SIZE) -> np.ndarray:
        """Maps (T, 2, 4) from canonical space to the image, as maps to crop pixels."""
        moved = np.array(affine, dtype=np.float64)
        moved[..., 3] -= self.corners
        moved *= (size / self.sides)[:, None, None]
        moved[..., 3] -= 0.5
        return moved

    def extract(self, image: np.ndarray, frame: int, size: int = CROP_SIZE) -> np.ndarray:
        """The crop (size, size, 3) of an image (H, W, 3); edges are repeated outside the frame.

        Bicubic, and correct by area where the crop is smaller than the window.
        """
        x0, y0, side = self.window_box(frame)
        margin = 4 * max(1.0, side / size)
        low = np.floor([x0 - margin, y0 - margin]).astype(int)
        high = np.ceil([x0 + side + margin, y0 + side + margin]).astype(int)
        # PIL takes the edges of pixels, and its pixel covers [i, i + 1).
        left, top = x0 - low[0] + 0.5, y0 - low[1] + 0.5
        picture = Image.fromarray(cut_out(image, low, high))
        box = (left, top, left + side, top + side)
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box))


def cut_out(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Pixels from low to high, (2,) x, y each, exclusive; the frame's edges are repeated."""
    height, width = image.shape[:2]
    if (low >= 0).all() and high[0] <= width and high[1] <= height:
        return np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    rows = np.arange(low[1], high[1]).clip(0, height - 1)
    columns = np.arange(low[0], high[0]).clip(0, width - 1)
    return image[rows[:, None], columns]


def crop_windows(
    affine: np.ndarray, times: np.ndarray | float = 25.0, *, smoothing: float = 0.24
) -> CropWindows:
    """Calm windows around the face of maps (T, 2, 4), `CROP_SIDE` eye distances wide.

    They follow the head under a Gaussian of `smoothing` seconds, within each shot. `times` is (T,)
    seconds or frames per second.
    """
    affine = np.asarray(affine, np.float64)
    shots = shots_of(affine)
    centres = smoothed(affine @ np.array([*CROP_CENTRE, 1.0]), times, smoothing, shots=shots)
    scales = smoothed(pose_from_affine(affine).scale, times, 2 * smoothing, shots=shots)
    for shot in np.unique(shots):
        part = shots == shot
        if scales[part].max() < ZOOM * scales[part].min():
            scales[part] = np.median(scales[part])
    return CropWindows(centres, CROP_SIDE * scales)
