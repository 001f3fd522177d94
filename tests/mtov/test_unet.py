from dataclasses import replace

import pytest
import torch

from mtov.planes import PlaneShape
from mtov.unet import UNet, UNetSettings, to_grids, to_tokens

TINY = UNetSettings(
    frames=4, height=8, width=8, base=8, multipliers=(1, 2), blocks=1, heads=2, plane_attention=1
)


def parameters(settings: UNetSettings) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in UNet(settings).parameters())


def noisy_and_condition(settings: UNetSettings, batch: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    tokens = settings.planes.tokens
    noisy = torch.randn(batch, 4, tokens, generator=generator)
    return noisy, torch.randn(batch, 12, tokens, generator=generator)


def awake(settings: UNetSettings) -> UNet:
    """Branches start as zero; give them random weights, as training does."""
    network = UNet(settings)
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def test_paper_has_the_published_networks_parameters_without_its_unused_decoder() -> None:
    """207.7 M is published, 75.5 M of it in a second decoder that its forward pass never runs."""
    unused_decoder = 75_530_368
    assert abs(parameters(UNetSettings()) + unused_decoder - 207_703_172) < 0.001 * 207_703_172


@pytest.mark.parametrize(
    "settings",
    [
        TINY,
        replace(TINY, frames=8, positions=True),
        replace(TINY, frames=2, height=4, width=6),
        replace(TINY, multipliers=(1, 2, 2), plane_attention=0),
    ],
)
def test_planes_of_any_sizes_in_and_out(settings: UNetSettings) -> None:
    noisy, condition = noisy_and_condition(settings)
    predicted = awake(settings)(noisy, torch.tensor([0, 999]), condition)
    assert predicted.shape == noisy.shape and predicted.isfinite().all()


@pytest.mark.parametrize("sizes", [(4, 4, 4), (2, 4, 4), (4, 4, 6), (2, 3, 5)])
def test_grids_and_tokens_are_inverse(sizes: tuple[int, int, int]) -> None:
    shape = PlaneShape(*sizes)
    tokens = torch.randn(2, shape.tokens, 3)
    grids = to_grids(tokens, shape)
    assert torch.equal(to_tokens(grids, 2), tokens)
    hw = shape.split(tokens.mT)[0]
    assert torch.equal(grids[0][:: len(grids[0]) // 2], hw)


def test_each_plane_hears_of_the_others_but_only_by_joint_attention() -> None:
    network = awake(TINY)
    noisy, condition = noisy_and_condition(TINY, 1)
    changed = noisy.clone()
    changed[..., -1] += 1  # the last token of plane sw
    timestep = torch.tensor([500])
    before, after = (network(x, timestep, condition) for x in (noisy, changed))
    assert not torch.equal(*(TINY.planes.split(x)[0] for x in (before, after)))
    for block in [*network.down, network.middle, *network.up]:
        block.joint = torch.nn.Identity()
    before, after = (network(x, timestep, condition) for x in (noisy, changed))
    assert torch.equal(*(TINY.planes.split(x)[0] for x in (before, after)))


def test_timestep_and_every_condition_matter() -> None:
    network = awake(TINY)
    noisy, condition = noisy_and_condition(TINY, 1)
    usual = network(noisy, torch.tensor([10]), condition)
    assert not torch.allclose(usual, network(noisy, torch.tensor([900]), condition), atol=1e-4)
    for first in (0, 4, 8):
        other = condition.clone()
        other[:, first : first + 4] *= -1
        assert not torch.allclose(usual, network(noisy, torch.tensor([10]), other), atol=1e-4)


def test_clips_of_a_batch_are_independent() -> None:
    network = awake(TINY)
    noisy, condition = noisy_and_condition(TINY, 3)
    timestep = torch.tensor([1, 400, 999])
    together = network(noisy, timestep, condition)
    alone = [network(*(x[i : i + 1] for x in (noisy, timestep, condition))) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        network = awake(replace(TINY, checkpointing=checkpointing))
        noisy, condition = noisy_and_condition(TINY)
        network(noisy, torch.tensor([3, 4]), condition).square().mean().backward()
        assert network.open.weight.grad is not None
        gradients.append(network.open.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_what_diffusion_works_on_has_unit_variance_and_comes_back(residual: bool) -> None:
    scale = UNet(replace(TINY, residual=residual)).scale
    condition = (torch.randn(64, 12, TINY.planes.tokens) * 0.2 + 0.1).clamp(-0.9, 0.9)
    latent = condition[:, -4:] + 0.01 * torch.randn(64, 4, TINY.planes.tokens)
    values = (torch.full((4, 3), value) for value in (0.1, 0.2, 0.0, 0.01))
    scale.set(*values)
    x0 = scale.to_x0(latent, condition)
    assert abs(x0.std() - 1) < 0.05 and abs(x0.mean()) < 0.05
    assert abs(scale.normalize(condition).std() - 1) < 0.05
    assert torch.allclose(scale.to_latent(x0, condition), latent, atol=1e-5)


def test_a_residual_network_gives_the_identity_back_before_it_has_learnt() -> None:
    network = UNet(replace(TINY, residual=True))
    noisy, condition = noisy_and_condition(TINY)
    condition = condition.clamp(-1, 1)
    predicted = network(noisy, torch.tensor([5, 6]), network.scale.normalize(condition))
    assert torch.equal(network.scale.to_latent(predicted, condition), condition[:, -4:])


def test_contradicting_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="frames 6"):
        replace(TINY, frames=6, multipliers=(1, 1, 1))
    with pytest.raises(ValueError, match="heads 3"):
        replace(TINY, heads=3)
