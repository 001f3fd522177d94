"""HuBERT through transformers: the paper's speech encoder (arXiv 2106.07447)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moditalker.errors import WeightsError
from moditalker.speech.base import in_windows

WINDOW, CONTEXT = 16.0, 4.0  # seconds
OVERHANG = 80  # samples that HuBERT's convolutions read beyond the last feature's hop, halved


class HubertEncoder:
    """The last hidden state of a HuBERT: 1024 dimensions for the large one, at 50 Hz."""

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        from transformers import HubertModel

        try:
            self.network = HubertModel.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"HuBERT '{name}' is neither a folder here nor to be had from the hub "
                f"({type(error).__name__}). Give a folder made by save_pretrained."
            ) from error
        self.name, self.dim = name, int(self.network.config.hidden_size)
        self.device = torch.device(device)
        self.network.eval().to(self.device)

    @torch.inference_mode()
    def encode(self, samples: np.ndarray) -> Tensor:
        """Samples (N,) float32 at 16 kHz to features (2 ceil(N / 640), dim)."""
        spread = float(samples.std())
        normal = (samples - samples.mean()) / (spread + 1e-7)
        return in_windows(self.features, normal.astype(np.float32), WINDOW, CONTEXT)

    def features(self, samples: np.ndarray) -> Tensor:
        """Features (F, dim) of one window; its edges are repeated for the convolutions' overhang."""
        padded = np.pad(samples, OVERHANG // 2, mode="edge")
        values = torch.from_numpy(padded)[None].to(self.device)
        return self.network(values).last_hidden_state[0].float().cpu()
