from dataclasses import replace

import pytest
import torch

from mtov.autoencoder import AutoencoderSettings, TriPlaneAutoencoder
from mtov.autoencoder_module import mouth_weight, psnr

TINY = AutoencoderSettings(
    size=32, frames=4, patch=8, dim=16, depth=1, heads=2, head_dim=8, feed_forward=1,
    pool_depth=1, pool_heads=2, pool_head_dim=8, pool_feed_forward=16,
)  # fmt: skip
ASYMMETRIC = replace(TINY, decoder="asymmetric", decoder_widths=(8, 12, 16), stem="convolutional")


def clip(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("settings", [TINY, ASYMMETRIC])
def test_video_to_planes_and_back(settings: AutoencoderSettings) -> None:
    network, video = TriPlaneAutoencoder(settings), clip()
    latent = network.encode(video)
    assert latent.shape == (2, 4, 4 * 4 + 4 * 4 + 4 * 4) and latent.abs().max() <= 1
    decoded = network.decode(latent, clip(1), clip(2))
    assert decoded.shape == video.shape and decoded.isfinite().all()


def test_paper_autoencoder_has_62_million_parameters() -> None:
    with torch.device("meta"):
        network = TriPlaneAutoencoder(AutoencoderSettings())
    count = sum(parameter.numel() for parameter in network.parameters())
    assert abs(count / 62e6 - 1) < 0.02


def test_planes_know_their_own_axes() -> None:
    """A change in one frame reaches that frame's row of plane sh more than the others' rows."""
    torch.manual_seed(0)
    network = TriPlaneAutoencoder(TINY).eval()
    video, changed = clip(), clip()
    changed[:, :, 2] *= -1
    before, after = (network.planes.split(network.encode(v))[1] for v in (video, changed))
    change = (after - before).abs().mean(dim=(0, 1, 3))
    assert change.argmax() == 2


def test_a_window_is_drawn_as_within_the_whole_frame() -> None:
    """Far enough from the window's border, so that training on windows trains the whole."""
    torch.manual_seed(0)
    settings = replace(ASYMMETRIC, size=128)
    network = TriPlaneAutoencoder(settings).eval()
    video = torch.rand(1, 3, 4, 128, 128) * 2 - 1
    with torch.no_grad():
        volume = network.decoder.volume(network.encode(video))
        whole = network.decoder.render(volume, torch.cat([video, video], 1))
        part = video[..., 16:112, 16:112]
        window = network.decoder.render(volume[..., 2:14, 2:14], torch.cat([part, part], 1))
    assert torch.allclose(window[..., 40:56, 40:56], whole[..., 56:72, 56:72], atol=1e-5)


def test_only_the_asymmetric_decoder_looks_at_the_pictures() -> None:
    for settings, looks in ((TINY, False), (ASYMMETRIC, True)):
        network = TriPlaneAutoencoder(settings).eval()
        latent = network.encode(clip())
        decoded = [network.decode(latent, clip(seed), clip(seed)) for seed in (1, 2)]
        assert torch.equal(*decoded) is not looks


def test_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = TriPlaneAutoencoder(replace(TINY, checkpointing=checkpointing))
        network.decode(network.encode(clip())).square().mean().backward()
        gradients.append(network.encoder.stem.weight.grad)
    assert torch.allclose(*gradients, atol=1e-7)


def test_contradicting_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="not divisible"):
        replace(TINY, size=33)
    with pytest.raises(ValueError, match="decoder_widths"):
        replace(ASYMMETRIC, decoder_widths=(8, 16))


def test_mouth_weight_and_psnr_know_their_answers() -> None:
    video = torch.zeros(1, 3, 1, 8, 8)
    weight = mouth_weight(torch.tensor([[[2.0, 3.0, 5.0, 6.0]]]), video, 7.0)
    assert weight.sum() == 64 + 9 * 6 and weight[0, 0, 0, 3, 2] == 7 and weight[0, 0, 0, 2, 2] == 1
    assert torch.isclose(psnr(video + 0.2, video), torch.tensor(20.0))
