import pytest
import torch

from moditalker.diffusion import Diffusion, DiffusionSettings, Prediction, Sampler
from mtov.autoencoder import AutoencoderSettings, TriPlaneAutoencoder, TriPlaneEncoder
from mtov.sampling import generate_clips, generate_latents
from mtov.unet import UNet, UNetSettings

SIZES = AutoencoderSettings(
    size=32, frames=4, patch=8, dim=16, depth=1, heads=2, head_dim=8, feed_forward=1,
    pool_depth=1, pool_heads=2, pool_head_dim=8, pool_feed_forward=16,
)  # fmt: skip
UNET = UNetSettings(4, 4, 4, base=8, multipliers=(1,), blocks=1, heads=2)


class Oracle(UNet):
    """A network that knows the answer, and counts how often it is asked."""

    def __init__(self, x0: torch.Tensor, diffusion: Diffusion) -> None:
        super().__init__(UNET)
        self.x0, self.diffusion, self.asked = x0, diffusion, 0

    def forward(
        self, noisy: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor
    ) -> torch.Tensor:
        self.asked += 1
        alpha, sigma = self.diffusion.coefficients(timestep, noisy)
        noise = (noisy - alpha * self.x0) / sigma
        return self.diffusion.target(self.x0, noise, timestep)


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["dpm-solver++", "unipc", "ddim"])
def test_a_perfect_network_is_followed_in_twelve_evaluations(
    prediction: Prediction, sampler: Sampler
) -> None:
    diffusion = Diffusion(DiffusionSettings(prediction_type=prediction))
    x0 = torch.rand(2, 4, 48, generator=torch.Generator().manual_seed(3)) * 1.8 - 0.9
    oracle = Oracle(x0, diffusion)
    latents = generate_latents(
        oracle,
        diffusion,
        torch.zeros(2, 12, 48),
        generator=torch.Generator().manual_seed(0),
        sampler=sampler,
    )
    assert oracle.asked <= 12
    assert (latents - x0).abs().max() < 0.05


def networks() -> tuple[TriPlaneAutoencoder, TriPlaneEncoder, UNet, Diffusion]:
    torch.manual_seed(0)
    unet = UNet(UNET)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    autoencoder, landmarks = TriPlaneAutoencoder(SIZES), TriPlaneEncoder(SIZES)
    return autoencoder.eval(), landmarks.eval(), unet.eval(), Diffusion(DiffusionSettings())


def clips(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    drawn = torch.rand(3, count, 3, 4, 32, 32, generator=generator) * 2 - 1
    return drawn[0], drawn[1], drawn[2]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_same_seed_same_video_whatever_the_batch() -> None:
    parts, given = networks(), clips(3)
    first = generate_clips(*parts, *given, generator=seeded(1), steps=3, batch=1)
    again = generate_clips(*parts, *given, generator=seeded(1), steps=3, batch=3)
    other = generate_clips(*parts, *given, generator=seeded(2), steps=3)
    assert first.shape == (3, 3, 4, 32, 32) and first.abs().max() <= 1
    assert torch.allclose(first, again, atol=1e-4)
    assert not torch.allclose(first, other, atol=1e-3)


def test_conditions_are_encoded_once_per_clip_and_progress_is_told() -> None:
    autoencoder, landmark_encoder, unet, diffusion = networks()
    encoded: list[int] = []
    for encoder in (autoencoder.encoder, landmark_encoder):
        encoder.register_forward_hook(lambda _, given, out: encoded.append(len(out)))
    told: list[tuple[int, int]] = []
    generate_clips(
        autoencoder, landmark_encoder, unet, diffusion, *clips(3),
        generator=seeded(0), steps=5, batch=2, progress=lambda *x: told.append(x),
    )  # fmt: skip
    assert sum(encoded) == 3 * 3  # landmarks, pose and identity of three clips
    assert told == [(done, 10) for done in range(1, 11)]


def test_equal_conditions_give_equal_clips() -> None:
    """What conditions leave open is drawn alike in all clips of a video, so that no seam shows."""
    given = tuple(x.expand(2, -1, -1, -1, -1) for x in clips(1))
    video = generate_clips(*networks(), *given, generator=seeded(0), steps=3)
    assert torch.allclose(video[0], video[1], atol=1e-5)
