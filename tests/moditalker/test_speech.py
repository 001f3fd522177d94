from pathlib import Path

import numpy as np
import pytest
import torch

from moditalker.errors import WeightsError
from moditalker.speech import file_name, load_speech_encoder, voice_activity
from moditalker.speech.base import feature_count
from moditalker.speech.whisper import FOLDER, log_mel

RATE = 16000


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in syllables: four bursts a second."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    loud = np.sin(2 * np.pi * 4 * time).clip(0) ** 2
    return (0.3 * loud * random.standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("samples", [3200, 16000, 16001, 31 * RATE + 5])
def test_two_features_for_every_motion_frame(samples: int) -> None:
    encoder = load_speech_encoder()
    features = encoder.encode(speechlike(samples / RATE)[:samples])
    assert features.shape == (2 * -(-samples // 640), 768) == (feature_count(samples), encoder.dim)
    assert features.isfinite().all()


def test_whisper_agrees_with_transformers() -> None:
    import json

    from safetensors.torch import load_file
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    sound = speechlike(30.0)
    extractor = WhisperFeatureExtractor(feature_size=80)
    mel = torch.from_numpy(extractor(sound, sampling_rate=RATE)["input_features"])
    assert torch.allclose(log_mel(torch.from_numpy(sound)), mel[0], atol=1e-4)
    config = WhisperConfig(**json.loads((FOLDER / "config.json").read_text()))
    theirs = WhisperEncoder(config).eval()
    theirs.load_state_dict(
        {k: v.float() for k, v in load_file(FOLDER / "model.safetensors").items()}
    )
    with torch.inference_mode():
        wanted = theirs(mel, output_hidden_states=True)
        ours = load_speech_encoder().features(sound)  # type: ignore[attr-defined]
    assert torch.allclose(ours[:, 384:], wanted.last_hidden_state[0], atol=1e-2)
    assert torch.allclose(ours[:, :384], wanted.hidden_states[3][0], atol=1e-2)


@pytest.fixture(scope="module")
def small_hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("hubert")
    HubertModel(config).save_pretrained(folder)
    return folder


def test_a_hubert_from_a_folder(small_hubert: Path) -> None:
    encoder = load_speech_encoder(str(small_hubert))
    features = encoder.encode(speechlike(18.0))
    assert features.shape == (900, 16) and encoder.dim == 16
    assert features.isfinite().all() and features.std() > 0


def test_an_unreachable_hubert_names_the_folder_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="folder"):
        load_speech_encoder("nobody/no-such-hubert")


def test_voice_is_active_in_bursts_and_not_between() -> None:
    random = np.random.default_rng(0)
    sound = 0.001 * random.standard_normal(6 * RATE)
    for start in (1, 4):
        sound[start * RATE : (start + 1) * RATE] += 0.2 * random.standard_normal(RATE)
    active = voice_activity(sound.astype(np.float32), RATE, np.array([0.5, 1.5, 3.0, 4.5, 5.5]))
    assert (active[[1, 3]] > 0.9).all() and (active[[0, 2, 4]] < 0.1).all()


def test_encoder_names_become_file_names() -> None:
    assert file_name("facebook/hubert-large-ls960-ft") == "facebook-hubert-large-ls960-ft"
