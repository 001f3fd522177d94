import torch

from mtov.conditions import align_identity, cut_pose_frames, plane_warp


def affine(scale: float, x: float, y: float, tilt: float = 0.0) -> torch.Tensor:
    return torch.tensor([[scale, 0.0, tilt, x], [0.0, -scale, 0.0, y]])


def test_nothing_below_the_nose_base_survives() -> None:
    frames = torch.rand(1, 3, 2, 8, 8) + 0.1
    cut = cut_pose_frames(frames, torch.tensor([[3.0, 5.0]]))
    assert torch.equal(cut[0, :, 0, :3], frames[0, :, 0, :3]) and not cut[0, :, 0, 3:].any()
    assert torch.equal(cut[0, :, 1, :5], frames[0, :, 1, :5]) and not cut[0, :, 1, 5:].any()


def test_warp_takes_a_canonical_point_from_target_to_source() -> None:
    source, target = affine(90, 128, 100, tilt=20), affine(70, 120, 90, tilt=-30)
    point = torch.tensor([0.3, -0.6, 0.25, 1.0])
    warp = plane_warp(source, target, depth=0.25)
    there = torch.cat([target @ point, torch.ones(1)])
    assert torch.allclose(warp @ there, source @ point, atol=1e-3)


def test_same_pose_gives_the_same_picture() -> None:
    frame, pose = torch.rand(2, 3, 32, 32), affine(10, 16, 16)
    aligned = align_identity(frame, pose.expand(2, 2, 4), pose.expand(2, 3, 2, 4))
    assert aligned.shape == (2, 3, 3, 32, 32)
    assert torch.allclose(aligned[:, :, 1], frame, atol=1e-4)


def test_a_shifted_pose_shifts_the_picture() -> None:
    frame = torch.zeros(1, 3, 32, 32)
    frame[..., 10, 12] = 1
    moved = align_identity(frame, affine(10, 16, 16)[None], affine(10, 19, 21)[None, None])
    assert moved[0, 0, 0].argmax() == (10 + 5) * 32 + 12 + 3
