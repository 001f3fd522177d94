import pytest
import torch

from moditalker.diffusion import Diffusion, DiffusionSettings, sample


@pytest.mark.parametrize("kind", ["sample", "epsilon", "v_prediction"])
def test_every_prediction_leads_back_to_x0(kind: str) -> None:
    diffusion = Diffusion(DiffusionSettings(prediction_type=kind))  # type: ignore[arg-type]
    x0, noise, timestep = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([0, 500, 900])
    x_t = diffusion.add_noise(x0, noise, timestep)
    prediction = diffusion.target(x0, noise, timestep)
    assert torch.allclose(diffusion.to_x0(prediction, x_t, timestep), x0, atol=1e-3)


def test_schedules_go_from_clean_to_noise() -> None:
    for schedule in ("cosine", "scaled_linear"):
        alphas = Diffusion(DiffusionSettings(schedule=schedule)).alphas_cumprod  # type: ignore[arg-type]
        assert alphas[0] > 0.995 and alphas[-1] < 0.01 and (alphas.diff() < 0).all()


@pytest.mark.parametrize("name", ["dpm-solver++", "unipc", "ddim"])
def test_samplers_reach_the_mean_of_a_gaussian(name: str) -> None:
    """For data N(2, 0.1²) the exact denoiser is known, so samples must have its moments."""
    diffusion = Diffusion(DiffusionSettings(schedule="cosine"))

    def denoise(x_t: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        alpha, sigma = diffusion.coefficients(timestep.long(), x_t)
        gain = 0.01 * alpha / (0.01 * alpha**2 + sigma**2)
        return 2 + gain * (x_t - 2 * alpha)

    drawn = sample(
        denoise, (4000, 1), diffusion, steps=12, sampler=name,  # type: ignore[arg-type]
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert abs(drawn.mean() - 2) < 0.02 and 0.04 < drawn.std() < 0.13


def test_seed_decides_the_sample() -> None:
    diffusion = Diffusion(DiffusionSettings())
    draws = [
        sample(
            lambda x, t: x * 0.5,
            (1, 5),
            diffusion,
            steps=3,
            generator=torch.Generator().manual_seed(s),
        )
        for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
