"""What MToV sees of the reference: pose frames without a mouth, identity frames in the right pose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FACE_PLANE_DEPTH = 0.25  # canonical z of the lips and cheeks, towards the viewer, in eye distances


def cut_pose_frames(frames: Tensor, nose_base: Tensor) -> Tensor:
    """Frames (B, 3, S, H, W) without anything below the nose base, across the whole width.

    `nose_base` (B, S) holds the row of point 33 in pixels. Removed rows are 0, mid-grey: neither jaw
    nor mouth of the reference may survive, or the model copies them.
    """
    rows = torch.arange(frames.shape[-2], device=frames.device)
    keep = rows < nose_base[..., None]
    return frames * keep[:, None, :, :, None]


def plane_warp(source: Tensor, target: Tensor, depth: float = FACE_PLANE_DEPTH) -> Tensor:
    """The map (..., 2, 3) from target pixels to source pixels that the face plane induces.

    `source` and `target` (..., 2, 4) take the canonical space to pixels. On the plane z = depth
    both are invertible 2-D affine maps, so one after the inverse of the other is exact there.
    """
    source, target = (on_plane(affine.double(), depth) for affine in (source, target))
    linear = source[..., :2] @ torch.linalg.inv(target[..., :2])
    offset = source[..., 2:] - linear @ target[..., 2:]
    return torch.cat([linear, offset], dim=-1).float()


def on_plane(affine: Tensor, depth: float) -> Tensor:
    """(..., 2, 4) over x, y, z, 1 to (..., 2, 3) over x, y, 1 where z = depth."""
    return torch.cat([affine[..., :2], affine[..., 3:] + depth * affine[..., 2:3]], dim=-1)


def align_identity(frame: Tensor, source: Tensor, targets: Tensor) -> Tensor:
    """One frame (B, 3, H, W) warped to the pose of each target frame: (B, 3, S, H, W).

    `source` (B, 2, 4) and `targets` (B, S, 2, 4) map the canonical space to crop pixels. Beyond the
    frame its edge is repeated.
    """
    batch, _, height, width = frame.shape
    steps = targets.shape[1]
    warp = plane_warp(source[:, None].expand_as(targets), targets).flatten(0, 1)
    rows, columns = torch.meshgrid(
        torch.arange(height, device=frame.device).float(),
        torch.arange(width, device=frame.device).float(),
        indexing="ij",
    )
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).view(-1, 3)
    sampled = (pixels @ warp.to(pixels.device).mT).view(-1, height, width, 2)
    grid = 2 * sampled / sampled.new_tensor([width - 1, height - 1]) - 1
    frames = frame.repeat_interleave(steps, dim=0)
    warped = F.grid_sample(frames, grid, padding_mode="border", align_corners=True)
    return warped.view(batch, steps, 3, height, width).transpose(1, 2)
