"""Speech encoders: sound to features at 50 Hz, and voice activity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moditalker.speech.activity import voice_activity
from moditalker.speech.base import WHISPER, SpeechEncoder, file_name

if TYPE_CHECKING:
    import torch

__all__ = ["WHISPER", "SpeechEncoder", "file_name", "load_speech_encoder", "voice_activity"]


def load_speech_encoder(name: str = WHISPER, device: torch.device | str = "cpu") -> SpeechEncoder:
    """`whisper-tiny.en` (in the package), or any HuBERT of transformers: a hub id or a folder.

    Raises WeightsError where a HuBERT cannot be had.
    """
    if name == WHISPER:
        from moditalker.speech.whisper import WhisperEncoder

        return WhisperEncoder(device)
    from moditalker.speech.hubert import HubertEncoder

    return HubertEncoder(name, device)
