"""AToM's network: a transformer diffusion model with disentangled lip attention [P §4.2, A.1].

Landmark tokens run in two streams, lip (jaw and mouth, 37 points) and non-lip (31 points). In every
block the lip stream alone looks at the audio; then both are merged, look at the initial landmark,
and are opened again. Before the first merge audio reaches nothing but the lip stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from moditalker.landmarks import LIP_GROUP, NON_LIP_GROUP
from moditalker.transformer import Attention, FeedForward, rotary_angles, timestep_embedding

COORDINATES = 68 * 3
SPEECH_PER_FRAME = 2  # 50 Hz speech features, 25 Hz motion


@dataclass(frozen=True)
class AToMSettings:
    """Sizes of AToM. The defaults are the paper's."""

    speech_dim: int = 1024
    "Width of the speech features: 1024 for HuBERT-large, 768 for the packaged Whisper encoder."
    dim: int = 512
    "Width of each stream."
    heads: int = 8
    feed_forward: int = 1024
    "Hidden width of the encoders' feed-forward layers."
    encoder_layers: int = 2
    "Layers of the speech encoder and of the landmark encoder."
    blocks: int = 8
    "Decoder blocks."
    window: int = 156
    "Frames that are denoised together (25 Hz)."
    dropout: float = 0.1
    aligned_speech: bool = False
    "Also add each frame's own two speech features to the lip stream's input; learns sooner."

    def __post_init__(self) -> None:
        if self.dim % (2 * self.heads):
            raise ValueError(
                f"dim {self.dim} is not divisible by twice the heads, {2 * self.heads}"
            )


class FiLM(nn.Module):
    """Scale and shift x (B, L, dim) by a conditioning vector (B, dim) (arXiv 1709.07871)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Mish(), nn.Linear(dim, 2 * dim))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.layers(condition)[:, None].chunk(2, dim=-1)
        return x * (1 + scale) + shift


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer with rotary positions: (B, L, dim) to the same."""

    def __init__(self, settings: AToMSettings) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(settings.dim) for _ in range(2))
        self.attention = Attention(settings.dim, settings.heads, rotary=True)
        self.feed_forward = FeedForward(settings.dim, settings.feed_forward, settings.dropout)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norms[0](x)))
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


class ConditionEncoder(nn.Module):
    """A condition (B, L, features) to tokens (B, L, dim) and one pooled vector (B, dim).

    Where `keep` (B,) is false both come from learned null tokens.
    """

    def __init__(self, settings: AToMSettings, features: int) -> None:
        super().__init__()
        dim = settings.dim
        self.project = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, dim))
        self.layers = nn.Sequential(
            *(EncoderLayer(settings) for _ in range(settings.encoder_layers))
        )
        self.null = nn.Parameter(torch.randn(dim) * 0.02)
        self.pool = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim)
        )

    def forward(self, condition: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.layers(self.project(condition))
        tokens = torch.where(keep[:, None, None], tokens, self.null)
        return tokens, self.pool(tokens.mean(dim=1))


@dataclass(frozen=True)
class Conditions:
    """What the decoder blocks look at."""

    speech: Tensor
    "(B, 2T + 2, dim): speech tokens, then two time tokens."
    landmark: Tensor
    "(B, T + 2, dim): tokens of the initial landmark, then two time tokens."
    lip: Tensor
    "(B, dim): time, landmark and speech, for the lip stream's FiLM."
    non_lip: Tensor
    "(B, dim): time and landmark only."


class DisentangledBlock(nn.Module):
    """One decoder block with disentangled lip attention.

    As in the published code, both streams share the weights of self-attention and FiLM; they differ
    by their conditioning vectors and by what they attend to.
    """

    def __init__(self, settings: AToMSettings) -> None:
        super().__init__()
        dim, heads = settings.dim, settings.heads
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.self_attention = Attention(dim, heads)
        self.speech_attention = Attention(dim, heads)
        self.landmark_attention = Attention(dim, heads)
        self.films = nn.ModuleList(FiLM(dim) for _ in range(3))
        self.dropout = nn.Dropout(settings.dropout)
        self.open = nn.Linear(dim, 2 * dim)
        self.head_dim = dim // heads

    def forward(self, lip: Tensor, non_lip: Tensor, given: Conditions) -> tuple[Tensor, Tensor]:
        """Streams (B, T, dim) to streams."""
        lip, non_lip = self.before_merge(lip, non_lip, given)
        merged = (lip + non_lip) * 0.5**0.5
        both = (given.lip + given.non_lip) / 2
        seen = self.attend(self.landmark_attention, self.norms[2](merged), given.landmark, 1.0)
        merged = merged + self.films[2](self.dropout(seen), both)
        opened_lip, opened_non_lip = self.open(merged).chunk(2, dim=-1)
        return lip + opened_lip, non_lip + opened_non_lip

    def before_merge(
        self, lip: Tensor, non_lip: Tensor, given: Conditions
    ) -> tuple[Tensor, Tensor]:
        """The disentangled half: speech reaches the lip stream, by attention and FiLM, alone."""
        lip = lip + self.films[0](self.attend_self(self.norms[0](lip)), given.lip)
        non_lip = non_lip + self.films[0](self.attend_self(self.norms[0](non_lip)), given.non_lip)
        heard = self.attend(self.speech_attention, self.norms[1](lip), given.speech, 0.5)
        lip = lip + self.films[1](self.dropout(heard), given.lip)
        again = self.attend_self(self.norms[1](non_lip))
        return lip, non_lip + self.films[1](again, given.non_lip)

    def attend_self(self, x: Tensor) -> Tensor:
        """Self-attention of one stream."""
        angles = rotary_angles(x.shape[1], self.head_dim, x.device)
        return self.dropout(self.self_attention(x, angles=angles))

    def attend(self, attention: Attention, x: Tensor, context: Tensor, spacing: float) -> Tensor:
        """Cross-attention to tokens that are `spacing` frames apart, then the two time tokens."""
        angles = rotary_angles(x.shape[1], self.head_dim, x.device)
        count = context.shape[1] - 2
        places = rotary_angles(count, self.head_dim, x.device, spacing=spacing)
        places = torch.cat([places, places.new_zeros(2, places.shape[1])])
        return attention(x, context, angles, places)


class AToM(nn.Module):
    """Noisy residuals, speech and the initial landmark to the clean residuals (x0)."""

    def __init__(self, settings: AToMSettings) -> None:
        super().__init__()
        self.settings, dim = settings, settings.dim
        self.speech = ConditionEncoder(settings, settings.speech_dim)
        self.landmark = ConditionEncoder(settings, COORDINATES)
        self.time = nn.Sequential(nn.Linear(dim, 4 * dim), nn.Mish())
        self.time_condition = nn.Linear(4 * dim, dim)
        self.time_tokens = nn.Linear(4 * dim, 2 * dim)
        self.lip_in = nn.Linear(3 * len(LIP_GROUP), dim)
        self.non_lip_in = nn.Linear(3 * len(NON_LIP_GROUP), dim)
        if settings.aligned_speech:
            self.aligned = nn.Linear(SPEECH_PER_FRAME * dim, dim)
        self.blocks = nn.ModuleList(DisentangledBlock(settings) for _ in range(settings.blocks))
        self.out = nn.Linear(2 * dim, COORDINATES)

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        speech: Tensor,
        initial: Tensor,
        keep_condition: Tensor | None = None,
    ) -> Tensor:
        """Predict the residuals (B, T, 204).

        Args:
            noisy: residuals with noise, standardised, (B, T, 204).
            timestep: diffusion steps (B,).
            speech: features (B, 2T, speech_dim).
            initial: the initial landmark, standardised, (B, 204).
            keep_condition: bool (B,); false drops speech and landmark (classifier-free guidance).
        """
        if keep_condition is None:
            keep_condition = torch.ones(len(noisy), dtype=torch.bool, device=noisy.device)
        given, heard = self.conditions(timestep, speech, initial, keep_condition)
        lip, non_lip = self.streams(noisy, heard)
        for block in self.blocks:
            lip, non_lip = block(lip, non_lip, given)
        return self.out(torch.cat([lip, non_lip], dim=-1))

    def conditions(
        self, timestep: Tensor, speech: Tensor, initial: Tensor, keep: Tensor
    ) -> tuple[Conditions, Tensor]:
        """The conditions of all blocks, and the bare speech tokens (B, 2T, dim)."""
        time = self.time(timestep_embedding(timestep, self.settings.dim))
        tokens = rearrange(self.time_tokens(time), "b (n d) -> b n d", n=2)
        frames = speech.shape[1] // SPEECH_PER_FRAME
        heard, speech_vector = self.speech(speech, keep)
        landmark, landmark_vector = self.landmark(initial[:, None].expand(-1, frames, -1), keep)
        non_lip = self.time_condition(time) + landmark_vector
        given = Conditions(
            speech=torch.cat([heard, tokens], dim=1),
            landmark=torch.cat([landmark, tokens], dim=1),
            lip=non_lip + speech_vector,
            non_lip=non_lip,
        )
        return given, heard

    def streams(self, noisy: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        """The two streams (B, T, dim) of noisy residuals (B, T, 204)."""
        points = rearrange(noisy, "b t (n c) -> b t n c", c=3)
        lip = self.lip_in(points[:, :, list(LIP_GROUP)].flatten(2))
        non_lip = self.non_lip_in(points[:, :, list(NON_LIP_GROUP)].flatten(2))
        if self.settings.aligned_speech:
            pairs = rearrange(heard, "b (t n) d -> b t (n d)", n=SPEECH_PER_FRAME)
            lip = lip + self.aligned(pairs)
        return lip, non_lip
