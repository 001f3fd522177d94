"""From conditions to video: encode them once per clip, denoise a latent in few steps, decode it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moditalker.diffusion import Diffusion, Sampler, sample
from mtov.autoencoder import TriPlaneAutoencoder, TriPlaneEncoder
from mtov.unet import UNet

Progress = Callable[[int, int], None]


def encode_conditions(
    autoencoder: TriPlaneAutoencoder,
    landmark_encoder: TriPlaneEncoder,
    landmark_video: Tensor,
    pose_frames: Tensor,
    identity_frames: Tensor,
) -> Tensor:
    """Landmark, pose and identity latents by channel: three (B, 3, S, H, W) to (B, 12, N)."""
    latents = (
        landmark_encoder(landmark_video),
        autoencoder.encode(pose_frames),
        autoencoder.encode(identity_frames),
    )
    return torch.cat(latents, dim=1)


def generate_latents(
    unet: UNet,
    diffusion: Diffusion,
    condition: Tensor,
    *,
    generator: torch.Generator,
    steps: int = 12,
    sampler: Sampler = "dpm-solver++",
    noise: Tensor | None = None,
    callback: Progress | None = None,
) -> Tensor:
    """Latents (B, 4, N) in [-1, 1] for conditions (B, 12, N), in `steps` network evaluations.

    `noise` (1, 4, N) is what every clip starts from, drawn from `generator` where none is given.
    """
    given = unet.scale.normalize(condition)
    if noise is None:
        noise = start_noise(unet, generator)
    shape = (len(condition), *noise.shape[1:])
    x0 = sample(
        lambda x_t, timestep: unet(x_t, timestep, given),
        shape,
        diffusion,
        steps=steps,
        generator=generator,
        sampler=sampler,
        device=condition.device,
        callback=callback,
        noise=noise.expand(shape),
    )
    return unet.scale.to_latent(x0, condition)


def start_noise(unet: UNet, generator: torch.Generator) -> Tensor:
    """Noise (1, 4, N) on the generator's device."""
    shape = (1, unet.settings.channels_out, unet.settings.planes.tokens)
    return torch.randn(shape, generator=generator, device=generator.device)


@torch.inference_mode()
def generate_clips(
    autoencoder: TriPlaneAutoencoder,
    landmark_encoder: TriPlaneEncoder,
    unet: UNet,
    diffusion: Diffusion,
    landmark_video: Tensor,
    pose_frames: Tensor,
    identity_frames: Tensor,
    *,
    generator: torch.Generator,
    steps: int = 12,
    batch: int = 4,
    sampler: Sampler = "dpm-solver++",
    progress: Progress | None = None,
) -> Tensor:
    """Clips (B, 3, S, H, W) in [-1, 1] on the CPU, `batch` of them at a time.

    All clips start from one noise, drawn from `generator`: what the conditions leave open is then
    drawn alike in neighbouring clips, and the result does not depend on `batch`. Seed the generator
    alike in every call for one video.

    Args:
        autoencoder, landmark_encoder, unet, diffusion: from the weights' bundle.
        landmark_video: drawn landmarks (B, 3, S, H, W).
        pose_frames: frames without anything below the nose base, of the same shape.
        identity_frames: reference frames in the pose of each frame, of the same shape.
        generator: decides the sample.
        steps: network evaluations per clip.
        batch: clips in one pass.
        sampler: see moditalker.diffusion.
        progress: told (done, all) after every evaluation.
    """
    device = unet.scale.latent_mean.device
    noise = start_noise(unet, generator)
    given = (x.split(batch) for x in (landmark_video, pose_frames, identity_frames))
    parts = list(zip(*given, strict=True))
    clips = []
    for index, part in enumerate(parts):
        landmarks, pose, identity = (x.to(device) for x in part)
        latents = generate_latents(
            unet,
            diffusion,
            encode_conditions(autoencoder, landmark_encoder, landmarks, pose, identity),
            generator=generator,
            steps=steps,
            sampler=sampler,
            noise=noise,
            callback=part_of(progress, index, len(parts)),
        )
        clips.append(autoencoder.decode(latents, pose, identity, landmarks).cpu())
    return torch.cat(clips)


def part_of(progress: Progress | None, index: int, parts: int) -> Progress | None:
    """Progress of part `index` of `parts` equal ones, told as progress of the whole."""
    if progress is None:
        return None
    return lambda done, steps: progress(index * steps + done, parts * steps)
