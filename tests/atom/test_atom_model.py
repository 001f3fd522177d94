import pytest
import torch

from atom.model import AToM, AToMSettings

TINY = AToMSettings(
    speech_dim=12,
    dim=16,
    heads=2,
    feed_forward=16,
    encoder_layers=1,
    blocks=2,
    window=8,
    dropout=0.0,
)
ALIGNED = AToMSettings(
    speech_dim=12, dim=16, heads=2, feed_forward=16, encoder_layers=1, blocks=2, window=8,
    dropout=0.0, aligned_speech=True,
)  # fmt: skip


def inputs(frames: int = 8, batch: int = 2) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "noisy": torch.randn(batch, frames, 204, generator=draw),
        "timestep": torch.tensor([3, 700])[:batch],
        "speech": torch.randn(batch, 2 * frames, 12, generator=draw),
        "initial": torch.randn(batch, 204, generator=draw),
    }


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_predicts_residuals_for_any_length(frames: int) -> None:
    assert AToM(TINY)(**inputs(frames)).shape == (2, frames, 204)


@pytest.mark.parametrize("settings", [TINY, ALIGNED])
def test_speech_reaches_only_the_lip_stream_before_the_first_merge(settings: AToMSettings) -> None:
    torch.manual_seed(0)
    network, given = AToM(settings), inputs()
    given["speech"].requires_grad_()
    conditions, heard = network.conditions(
        given["timestep"], given["speech"], given["initial"], torch.ones(2, dtype=torch.bool)
    )
    lip, non_lip = network.streams(given["noisy"], heard)
    lip, non_lip = network.blocks[0].before_merge(lip, non_lip, conditions)
    (leak,) = torch.autograd.grad(
        non_lip.square().sum(), given["speech"], retain_graph=True, allow_unused=True
    )
    assert leak is None or not leak.any()
    (heard_by_lips,) = torch.autograd.grad(lip.square().sum(), given["speech"])
    assert heard_by_lips.abs().sum() > 0


def test_speech_reaches_the_whole_face_after_the_merge() -> None:
    torch.manual_seed(0)
    given = inputs()
    given["speech"].requires_grad_()
    brows = AToM(TINY)(**given).unflatten(-1, (68, 3))[:, :, 17:27]
    brows.square().sum().backward()
    assert given["speech"].grad.abs().sum() > 0


def test_dropped_conditions_are_not_seen() -> None:
    torch.manual_seed(0)
    network, first, second = AToM(ALIGNED).eval(), inputs(), inputs()
    second["speech"] = -second["speech"]
    second["initial"] = -second["initial"]
    nothing = torch.zeros(2, dtype=torch.bool)
    without = [network(**given, keep_condition=nothing) for given in (first, second)]
    assert torch.equal(*without)
    assert not torch.allclose(network(**first), network(**second))


def test_paper_preset_is_near_55_million_parameters() -> None:
    with torch.device("meta"):
        network = AToM(AToMSettings())
    assert abs(sum(p.numel() for p in network.parameters()) / 55e6 - 1) < 0.04


def test_every_parameter_is_used() -> None:
    network, given = AToM(ALIGNED), inputs()
    keep = torch.tensor([True, False])
    network(**given, keep_condition=keep).square().sum().backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert unused == []
