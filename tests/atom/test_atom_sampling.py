import pytest
import torch

from atom.model import AToM, AToMSettings
from atom.sampling import generate_motion, window_starts
from atom.statistics import Statistics
from moditalker.diffusion import Diffusion, DiffusionSettings

SETTINGS = AToMSettings(
    speech_dim=12,
    dim=16,
    heads=2,
    feed_forward=16,
    encoder_layers=1,
    blocks=1,
    window=8,
    dropout=0.0,
)
STATISTICS = Statistics(mean=(0.0,) * 204)
DIFFUSION = Diffusion(DiffusionSettings(schedule="cosine"))


class Follower(torch.nn.Module):
    """Stands in for AToM: says that every coordinate of a residual is the frame's first feature."""

    settings = SETTINGS

    def forward(self, noisy, timestep, speech, initial, keep=None):  # type: ignore[no-untyped-def]
        wanted = speech[:, ::2, :1].expand(-1, -1, 204)
        return wanted if keep is None else wanted * (0.5 + 0.5 * keep[:, None, None])


def draw(network: torch.nn.Module, frames: int, **options) -> torch.Tensor:  # type: ignore[no-untyped-def]
    speech = torch.randn(2 * frames, 12, generator=torch.Generator().manual_seed(1))
    seeded = torch.Generator().manual_seed(options.pop("seed", 0))
    return generate_motion(
        network,
        STATISTICS,
        DIFFUSION,
        speech,
        torch.ones(68, 3),
        generator=seeded,
        steps=3,
        **options,
    )


@pytest.mark.parametrize("length", [1, 7, 8, 9, 50])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_windows_cover_every_frame_and_end_at_the_end(length: int, overlap: float) -> None:
    starts = window_starts(length, 8, overlap)
    covered = {frame for start in starts for frame in range(start, min(start + 8, length))}
    assert covered == set(range(length)) and max(starts) == max(0, length - 8)


@pytest.mark.parametrize("mode", ["joint", "last_frame"])
@pytest.mark.parametrize("frames", [1, 8, 21])
def test_motion_is_as_long_as_the_speech(mode: str, frames: int) -> None:
    motion = draw(AToM(SETTINGS).eval(), frames, mode=mode)
    assert motion.shape == (frames, 68, 3) and motion.isfinite().all()


def test_windows_that_agree_leave_no_seam() -> None:
    """Where windows say the same of a frame, the average is what they say, also in overlaps."""
    frames = 30
    speech = torch.randn(60, 12, generator=torch.Generator().manual_seed(1))
    motion = draw(Follower(), frames, guidance=1.0)
    wanted = 1 + speech[::2, 0] / 10
    assert torch.allclose(motion[:, 0, 0], wanted, atol=1e-4)


def test_guidance_goes_beyond_the_conditioned_prediction() -> None:
    plain, guided = (draw(Follower(), 8, guidance=g) - 1 for g in (1.0, 2.0))
    assert torch.allclose(guided, 1.5 * plain, atol=1e-4)


def test_batches_change_nothing_and_seeds_decide() -> None:
    network = AToM(SETTINGS).eval()
    assert torch.allclose(draw(network, 30, batch=1), draw(network, 30, batch=8), atol=1e-4)
    assert torch.equal(draw(network, 9), draw(network, 9))
    assert not torch.equal(draw(network, 9), draw(network, 9, seed=1))


def test_no_temperature_leaves_nothing_to_chance() -> None:
    network = AToM(SETTINGS).eval()
    cold = [draw(network, 9, seed=seed, temperature=0.0) for seed in (0, 1)]
    assert torch.equal(*cold)
