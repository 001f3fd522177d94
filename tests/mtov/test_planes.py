import torch

from mtov.planes import PlaneShape


def test_paper_latent_has_2048_tokens_and_lite_768() -> None:
    assert PlaneShape(16, 32, 32).tokens == 2048
    assert PlaneShape(16, 16, 16).tokens == 768


def test_split_and_join_are_inverse_with_unequal_sides() -> None:
    shape = PlaneShape(3, 5, 7)
    latent = torch.randn(2, 4, shape.tokens)
    hw, sh, sw = shape.split(latent)
    assert (hw.shape, sh.shape, sw.shape) == ((2, 4, 5, 7), (2, 4, 3, 5), (2, 4, 3, 7))
    assert torch.equal(shape.join(hw, sh, sw), latent)


def test_volume_repeats_each_plane_along_its_missing_axis() -> None:
    shape = PlaneShape(2, 3, 4)
    hw, sh, sw = shape.split(torch.randn(1, 1, shape.tokens))
    volume = shape.volume(hw, sh, sw)
    assert volume.shape == (1, 1, 2, 3, 4)
    assert torch.isclose(volume[0, 0, 1, 2, 3], hw[0, 0, 2, 3] + sh[0, 0, 1, 2] + sw[0, 0, 1, 3])
