"""The diffusion stage from a data set folder to a bundle, over tiny networks of random weights."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from moditalker.bundle import save_network
from moditalker.errors import SettingsError
from moditalker.landmarks import mean_face
from mtov.autoencoder import AutoencoderSettings, TriPlaneAutoencoder, TriPlaneEncoder
from mtov.data import WindowSettings, read_clips
from mtov.diffusion_module import DiffusionModule, LatentData
from mtov.latents import CacheSettings, LatentCache
from mtov.unet import UNetSettings

SIZES = AutoencoderSettings(
    size=32, frames=4, patch=8, dim=16, depth=1, heads=2, head_dim=8, feed_forward=1,
    pool_depth=1, pool_heads=2, pool_head_dim=8, pool_feed_forward=16,
)  # fmt: skip
UNET = UNetSettings(4, 4, 4, base=8, multipliers=(1,), blocks=1, heads=2)
WINDOW = WindowSettings(frames=4, size=32, identity_distance=2)


def write_clip(folder: Path, frames: int, seed: int) -> None:
    """A prepared clip of noise with a still face."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    with av.open(str(folder / "crop.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            image = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    affine = np.array([[98.0, 0, 0, 128], [0, -98.0, 0, 79]], dtype=np.float32)
    points = mean_face() @ affine[:, :3].T + affine[:, 3]
    landmarks = np.concatenate([points, mean_face()[:, 2:]], axis=1).astype(np.float32)
    np.savez(
        folder / "motion.npz",
        landmarks=np.repeat(landmarks[None], frames, axis=0),
        affine=np.repeat(affine[None], frames, axis=0),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines: list[str] = []
    for name, frames in (("ann-1", 12), ("ann-2", 9), ("bob-1", 10)):
        write_clip(folder / "clips" / name, frames, len(lines))
        entry = {"id": name, "status": "kept", "frames": frames, "person": name[:3]}
        lines.append(json.dumps(entry))
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bundle")
    autoencoder, landmarks = TriPlaneAutoencoder(SIZES), TriPlaneEncoder(SIZES)
    save_network(folder, "autoencoder", autoencoder.state_dict(), asdict(SIZES))
    save_network(folder, "landmark_encoder", landmarks.state_dict(), asdict(SIZES))
    return folder


def latent_data(data: Path, folder: Path, **options: Any) -> LatentData:
    return LatentData(
        [str(data)], cache_folder=str(folder / "cache"), cache=CacheSettings(stride=3, variants=2),
        window=WINDOW, validation_people=["bob"], batch_size=2, workers=0, validation_windows=3,
        **options,
    )  # fmt: skip


def trainer(folder: Path, steps: int) -> pl.Trainer:
    return pl.Trainer(
        max_steps=steps, accelerator="cpu", default_root_dir=folder, logger=False, barebones=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        val_check_interval=max(1, steps), num_sanity_val_steps=0,
    )  # fmt: skip


def module(bundle: Path, **options: Any) -> DiffusionModule:
    pl.seed_everything(0)
    return DiffusionModule(str(bundle), UNET, steps=2, decoded=2, learning_rate=1e-2, **options)


def fit(module: DiffusionModule, data: LatentData, folder: Path, steps: int, **options: Any) -> Any:
    run = trainer(folder, steps)
    run.fit(module, data, **options)
    run.save_checkpoint(folder / f"step-{steps}.ckpt")
    return run


def cache(data: Path, bundle: Path, folder: Path, **changes: Any) -> LatentCache:
    torch.manual_seed(changes.pop("weights", 0))
    networks = TriPlaneAutoencoder(SIZES).eval(), TriPlaneEncoder(SIZES).eval()
    return LatentCache(folder, *networks, WINDOW, replace(CacheSettings(), **changes))


def test_cached_latents_are_those_of_the_window(data: Path, bundle: Path, tmp_path: Path) -> None:
    clips = read_clips([str(data)], 32, 5)
    made = cache(data, bundle, tmp_path, stride=3)
    made.fill(clips)
    windows = made.windows(clips[0])
    assert len(windows) == 2 * len(range(0, 12 - 4 + 1, 3)) == len(made.read(clips[0]))
    video, pose = (windows[4][name][None] for name in ("video", "pose_frames"))
    latents = torch.from_numpy(np.array(made.read(clips[0])[4])).float()
    with torch.no_grad():
        target, wanted = (made.networks[0].encode(x)[0] for x in (video, pose))
    assert torch.allclose(latents[:4], target, atol=2e-3)
    assert torch.allclose(latents[8:12], wanted, atol=2e-3)


def test_a_cache_is_made_once_and_never_mistaken(data: Path, bundle: Path, tmp_path: Path) -> None:
    clips = read_clips([str(data)], 32, 5)
    made = cache(data, bundle, tmp_path)
    told: list[str] = []
    for _ in range(2):
        made.fill(clips, told.append)
    assert len(told) == 3
    others = [cache(data, bundle, tmp_path, **c) for c in ({"weights": 1}, {"stride": 2})]
    assert len({made.folder, *(other.folder for other in others)}) == 3
    assert cache(data, bundle, tmp_path).folder == made.folder


def test_statistics_make_latents_standard(data: Path, bundle: Path, tmp_path: Path) -> None:
    clips = read_clips([str(data)], 32, 5)
    made = cache(data, bundle, tmp_path)
    made.fill(clips)
    network = DiffusionModule(str(bundle), UNET).unet
    network.scale.set(*made.statistics(clips))
    latents = torch.cat([torch.from_numpy(np.array(made.read(c)[:, :4])) for c in clips]).float()
    normal = network.scale.to_x0(latents, torch.zeros(len(latents), 12, latents.shape[-1]))
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02


def test_training_lowers_the_loss_and_validation_tells_what_a_sample_scores(
    data: Path, bundle: Path, tmp_path: Path
) -> None:
    trained = module(bundle)
    run = fit(trained, latent_data(data, tmp_path), tmp_path, 40)
    after = {name: float(value) for name, value in run.callback_metrics.items()}
    assert after["val_loss"] < 0.9  # latents have unit variance, and the first prediction is zero
    assert {f"val_loss_t{t}" for t in (100, 300, 500, 700, 900)} <= set(after)
    assert {"val_psnr_mouth", "val_floor_mouth", "val_ceiling_mouth"} <= set(after)
    assert list((tmp_path / "pictures").glob("*.png"))


def test_a_resumed_run_ends_as_one_that_was_never_stopped(
    data: Path, bundle: Path, tmp_path: Path
) -> None:
    whole, first, second = module(bundle), module(bundle), module(bundle)
    fit(whole, latent_data(data, tmp_path), tmp_path, 6)
    fit(first, latent_data(data, tmp_path), tmp_path, 3)
    checkpoint = tmp_path / "step-3.ckpt"
    fit(second, latent_data(data, tmp_path), tmp_path, 6, ckpt_path=checkpoint, weights_only=True)
    for name, value in whole.unet.state_dict().items():
        assert torch.allclose(value, second.unet.state_dict()[name], atol=1e-6), name


def test_a_checkpoint_holds_the_unet_alone(data: Path, bundle: Path, tmp_path: Path) -> None:
    """Also after the frozen autoencoder has been read for a test."""
    trained = module(bundle)
    run = fit(trained, latent_data(data, tmp_path), tmp_path, 1)
    run.test(trained, latent_data(data, tmp_path), verbose=False)
    run.save_checkpoint(tmp_path / "step-1.ckpt")
    state = torch.load(tmp_path / "step-1.ckpt", weights_only=True)
    assert all(name.startswith("unet.") for name in state["state_dict"])
    assert state["export"]["name"] == "unet" and state["export"]["section"] == asdict(UNET)


def test_planes_that_do_not_fit_are_refused(data: Path, bundle: Path, tmp_path: Path) -> None:
    wrong = DiffusionModule(str(bundle), replace(UNET, height=8))
    with pytest.raises(SettingsError, match="height=8"):
        trainer(tmp_path, 1).fit(wrong, latent_data(data, tmp_path))


def test_command_line_fits_and_exports_into_the_bundle(
    data: Path, bundle: Path, tmp_path: Path
) -> None:
    """With the file of the debug preset, its sizes overridden by those of the bundle here."""
    from moditalker.training import main
    from mtov.networks import load_unet

    config = Path(__file__).parents[2] / "configs" / "mtov" / "diffusion" / "debug.yaml"
    sizes = ["frames=4", "height=4", "width=4", "multipliers=[1]", "base=8"]
    window = ["frames=4", "size=32", "identity_distance=2"]
    command = [
        "fit", "-c", str(config), "trainer.max_steps=2", "trainer.val_check_interval=2",
        *(f"model.network.{size}" for size in sizes), *(f"++data.window.{one}" for one in window),
        "--model.bundle", str(bundle), "--data.folders", f"[{data}]", "--run", str(tmp_path),
        "--data.cache_folder", str(tmp_path / "cache"),
    ]  # fmt: skip
    assert main("mtov", command) == 0
    checkpoint = tmp_path / "last.ckpt"
    assert main("mtov", ["export", "--checkpoint", str(checkpoint), "--bundle", str(bundle)]) == 0
    network, diffusion = load_unet(bundle)
    assert network.settings == replace(UNET, plane_attention=0)
    assert diffusion.settings.prediction_type == "sample"
    averaged = torch.load(checkpoint, weights_only=True)["state_dict"]["unet.open.weight"]
    assert torch.allclose(network.open.weight, averaged, atol=1e-3)
