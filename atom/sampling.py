"""Motion of any length from AToM: windows that overlap are denoised together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from atom.model import SPEECH_PER_FRAME, AToM
from atom.statistics import Statistics
from moditalker.diffusion import Diffusion, Sampler, sample

Progress = Callable[[int, int], None]
Guided = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@torch.inference_mode()
def generate_motion(
    network: AToM,
    statistics: Statistics,
    diffusion: Diffusion,
    speech: Tensor,
    initial: Tensor,
    *,
    generator: torch.Generator,
    steps: int = 10,
    guidance: float = 2.0,
    temperature: float = 1.0,
    sampler: Sampler = "dpm-solver++",
    overlap: float = 0.5,
    batch: int = 8,
    mode: Literal["joint", "last_frame"] = "joint",
    progress: Progress | None = None,
) -> Tensor:
    """Frontal landmarks (T, 68, 3) for speech features (2T, D), T >= 1.

    Args:
        network, statistics, diffusion: from the weights' bundle.
        speech: features at 50 Hz on the network's device.
        initial: the initial landmark (68, 3), canonical.
        generator: decides the sample.
        steps: network evaluations per window (twice as many passes with guidance).
        guidance: 1 follows the conditions as trained, 2 [P] exaggerates them.
        temperature: scale of the first noise. 1 draws from all that was learned; less keeps to what
            the speech says and leaves out what it does not (as in Grad-TTS, arXiv 2105.06337).
        sampler: see moditalker.diffusion.
        overlap: part of a window that its neighbour shares, in `joint` mode.
        batch: windows in one pass.
        mode: `joint` averages the overlaps in each step, so there is no seam; `last_frame` [P] goes
            on from the last frame of the window before.
        progress: told (done, steps).
    """
    step = guided(network, guidance, batch)
    if mode == "joint":
        windows = [speech]
    else:
        windows = list(speech.split(SPEECH_PER_FRAME * network.settings.window))
    drawn, last = [], initial.to(speech)
    for heard in windows:
        residual = draw_joint(
            network, diffusion, heard, statistics.landmark(last)[None], step, generator, temperature,
            steps, sampler, overlap, progress,
        )  # fmt: skip
        drawn.append(statistics.landmarks(residual, last))
        last = drawn[-1][-1]
    return torch.cat(drawn)


def guided(network: AToM, guidance: float, batch: int) -> Guided:
    """A denoiser of windows (W, L, 204), `batch` at a time, with classifier-free guidance."""

    def denoise(noisy: Tensor, timestep: Tensor, speech: Tensor, initial: Tensor) -> Tensor:
        parts = zip(*(x.split(batch) for x in (noisy, timestep, speech, initial)), strict=True)
        return torch.cat([one(*part) for part in parts])

    def one(noisy: Tensor, timestep: Tensor, speech: Tensor, initial: Tensor) -> Tensor:
        if guidance == 1:
            return network(noisy, timestep, speech, initial)
        keep = torch.arange(2, device=noisy.device).repeat_interleave(len(noisy)).bool()
        twice = (torch.cat([x, x]) for x in (noisy, timestep, speech, initial))
        without, with_conditions = network(*twice, keep).chunk(2)
        return without + guidance * (with_conditions - without)

    return denoise


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """First frames of windows that cover `length` frames; the last one ends at the end."""
    if length <= window:
        return [0]
    stride = max(1, round(window * (1 - overlap)))
    return [*range(0, length - window, stride), length - window]


def overlap_weights(window: int, device: torch.device) -> Tensor:
    """Weights (window, 1) of a window's frames in the average: a triangle, nowhere zero."""
    rising = torch.arange(1, window + 1, device=device).float()
    return torch.minimum(rising, rising.flip(0))[:, None]


def draw_joint(
    network: AToM,
    diffusion: Diffusion,
    speech: Tensor,
    given: Tensor,
    step: Guided,
    generator: torch.Generator,
    temperature: float,
    steps: int,
    sampler: Sampler,
    overlap: float,
    progress: Progress | None,
) -> Tensor:
    """Residuals (T, 204): each step denoises all windows and averages where they overlap."""
    length = len(speech) // SPEECH_PER_FRAME
    window = min(length, network.settings.window)
    starts = window_starts(length, window, overlap)
    weights = overlap_weights(window, speech.device)
    total = speech.new_zeros(length, 1)
    for start in starts:
        total[start : start + window] += weights
    rate = SPEECH_PER_FRAME
    heard = torch.stack([speech[rate * s : rate * (s + window)] for s in starts])

    def denoise(x_t: Tensor, timestep: Tensor) -> Tensor:
        noisy = torch.stack([x_t[0, s : s + window] for s in starts])
        count = len(starts)
        x0 = step(noisy, timestep.expand(count), heard, given.expand(count, -1))
        merged = torch.zeros_like(x_t[0])
        for start, part in zip(starts, x0, strict=True):
            merged[start : start + window] += weights * part
        return (merged / total)[None]

    shape = (1, length, given.shape[-1])
    noise = temperature * torch.randn(shape, generator=generator, device=generator.device)
    return sample(
        denoise, shape, diffusion, steps=steps, generator=generator, sampler=sampler,
        device=speech.device, callback=progress, noise=noise,
    )[0]  # fmt: skip
