"""The encoder of Whisper tiny.en (arXiv 2212.04356) from the package: no download."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moditalker.bundle import load_weights
from moditalker.speech.base import RATE, WHISPER, in_windows

FOLDER = Path(__file__).parent.parent / "assets" / "speech" / WHISPER
DIM, HEADS, LAYERS, MELS, POSITIONS = 384, 6, 4, 80, 1500
TAPPED = 3  # hidden state that is given beside the last
FFT, HOP = 400, 160
WINDOW, CONTEXT = 20.0, 4.0  # seconds; together they fit Whisper's 30 s


class WhisperEncoder:
    """Hidden state 3 and the last, side by side: 768 dimensions at 50 Hz."""

    name, dim = WHISPER, 2 * DIM

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = WhisperNetwork()
        load_weights(self.network, FOLDER / "model.safetensors")
        self.network.eval().to(self.device)

    @torch.inference_mode()
    def encode(self, samples: np.ndarray) -> Tensor:
        """Samples (N,) float32 at 16 kHz to features (2 ceil(N / 640), 768)."""
        return in_windows(self.features, samples, WINDOW, CONTEXT)

    def features(self, samples: np.ndarray) -> Tensor:
        """Features (F, 768) of at most 30 seconds; positions are cut to the sound's length."""
        mel = log_mel(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)))
        return self.network(mel[None].to(self.device))[0].cpu()


def log_mel(samples: Tensor) -> Tensor:
    """Samples (N,) to Whisper's log-mel spectrogram (80, N / 160)."""
    spectrum = torch.stft(samples, FFT, HOP, window=torch.hann_window(FFT), return_complex=True)
    power = spectrum[:, :-1].abs().square()
    mel = (mel_filters() @ power).clamp(min=1e-10).log10()
    return (mel.clamp(min=float(mel.max()) - 8.0) + 4.0) / 4.0


@lru_cache(maxsize=1)
def mel_filters() -> Tensor:
    """Slaney's mel filters (80, 201), area-normalised, as librosa makes them for Whisper."""
    frequencies = torch.linspace(0, RATE / 2, FFT // 2 + 1, dtype=torch.float64)
    edges = from_mel(torch.linspace(0, float(to_mel(RATE / 2)), MELS + 2, dtype=torch.float64))
    widths, slopes = edges.diff(), edges[:, None] - frequencies
    rising, falling = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * 2 / (edges[2:] - edges[:-2])[:, None]).float()


def to_mel(hertz: float) -> float:
    """Slaney's mel scale: linear up to 1 kHz, then logarithmic."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def from_mel(mel: Tensor) -> Tensor:
    """The inverse of `to_mel`."""
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) / 27 * np.log(6.4)))


class WhisperNetwork(nn.Module):
    """The encoder with the names of transformers' layout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, DIM, 3, padding=1)
        self.conv2 = nn.Conv1d(DIM, DIM, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(POSITIONS, DIM)
        self.layers = nn.ModuleList(WhisperLayer() for _ in range(LAYERS))
        self.layer_norm = nn.LayerNorm(DIM)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, 80, 2F) to features (B, F, 768)."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        states = [x + self.embed_positions.weight[: x.shape[1]]]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return torch.cat([states[TAPPED], self.layer_norm(states[-1])], dim=-1)


class WhisperAttention(nn.Module):
    """Self-attention with transformers' names; keys have no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.k_proj = nn.Linear(DIM, DIM, bias=False)
        self.v_proj, self.q_proj, self.out_proj = (nn.Linear(DIM, DIM) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            project(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class WhisperLayer(nn.Module):
    """Pre-norm transformer layer (B, F, 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = WhisperAttention()
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.fc1, self.fc2 = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
