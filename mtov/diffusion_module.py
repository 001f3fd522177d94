"""MToV's second stage: the U-Net on cached latents, and the data module that makes the cache."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from moditalker.diffusion import Diffusion, DiffusionSettings, Sampler
from moditalker.errors import SettingsError
from moditalker.training.sampler import ENDLESS, ResumableSampler
from mtov.autoencoder import TriPlaneAutoencoder, TriPlaneEncoder
from mtov.autoencoder_module import FirstStage, decode, scores
from mtov.data import Clip
from mtov.datamodule import WindowData
from mtov.latents import CacheSettings, FixedLatents, LatentCache, RandomLatents
from mtov.networks import load_autoencoder, load_landmark_encoder
from mtov.planes import PlaneShape
from mtov.sampling import generate_latents
from mtov.unet import UNet, UNetSettings

Batch = dict[str, Tensor]
MOST_DECODED = 4  # windows that are decoded in one pass
BINS = 5  # validation looks at the loss in the middle of so many equal ranges of timesteps


class DiffusionModule(FirstStage):
    """Trains the U-Net to predict clean latents from noisy ones [P eq. 6]."""

    def __init__(
        self,
        bundle: str,
        network: UNetSettings = UNetSettings(),  # noqa: B008 (frozen)
        diffusion: DiffusionSettings = DiffusionSettings(),  # noqa: B008 (frozen)
        steps: int = 12,
        sampler: Sampler = "dpm-solver++",
        decoded: int = 4,
        learning_rate: float = 1e-4,
        warm_up: int = 100,
        decay_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        """
        Args:
            bundle: folder with the frozen autoencoder and landmark encoder.
            network: sizes; the planes must be those of the autoencoder.
            diffusion: noise schedule and what the network predicts.
            steps: network evaluations per sample in validation.
            sampler: in validation.
            decoded: windows that validation and test sample and decode, for PSNR and pictures.
            learning_rate: of AdamW.
            warm_up: steps of rising learning rate.
            decay_steps: cosine to a twentieth over so many steps; null: constant.
            seed: decides noise and timesteps, together with the number of the step.
        """
        super().__init__(learning_rate, warm_up, decay_steps)
        self.bundle, self.seed = bundle, seed
        self.unet, self.diffusion = UNet(network), Diffusion(diffusion)
        self.steps, self.sampler, self.decoded = steps, sampler, decoded
        # A tuple: frozen weights belong neither in checkpoints nor in the moving average.
        self.frozen: tuple[TriPlaneAutoencoder, ...] = ()

    @property
    def autoencoder(self) -> TriPlaneAutoencoder:
        """The frozen autoencoder, read from the bundle when first needed."""
        if not self.frozen:
            self.frozen = (load_autoencoder(self.bundle).requires_grad_(False).to(self.device),)
        return self.frozen[0]

    def setup(self, stage: str) -> None:
        """Take the latents' statistics from the cache; a checkpoint brings its own."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, LatentData):
            raise SettingsError("the diffusion stage reads mtov.diffusion_module.LatentData.")
        found, wanted = data.planes, self.unet.settings.planes
        if found != wanted:
            raise SettingsError(f"{self.bundle} has {found}, but model.network says {wanted}.")
        if stage == "fit":
            self.unet.scale.set(*data.statistics())

    def generator(self, *numbers: int) -> torch.Generator:
        """Randomness that is a function of the seed and `numbers`, so that runs resume exactly."""
        sequence = np.random.SeedSequence([self.seed, self.global_rank, *numbers])
        return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0]))

    def loss(self, batch: Batch, timestep: Tensor, generator: torch.Generator) -> Tensor:
        """L2 of the prediction, in units of what diffusion works on, at timesteps (B,)."""
        x0 = self.unet.scale.to_x0(batch["latent"], batch["condition"])
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        timestep = timestep.to(x0.device)
        noisy = self.diffusion.add_noise(x0, noise, timestep)
        predicted = self.unet(noisy, timestep, self.unet.scale.normalize(batch["condition"]))
        return F.mse_loss(predicted, self.diffusion.target(x0, noise, timestep))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        part = index % self.trainer.accumulate_grad_batches
        generator = self.generator(self.global_step, part)
        count = len(batch["latent"])
        timestep = self.diffusion.random_timesteps(count, generator)
        loss = self.loss(batch, timestep, generator)
        self.log("train_loss", loss, batch_size=count, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        self.evaluate(batch, index, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        self.evaluate(batch, index, "test")

    def evaluate(self, batch: Batch, index: int, name: str) -> None:
        """Log the loss per range of timesteps, and for the first windows what a sample scores."""
        count = len(batch["latent"])
        found = self.binned_losses(batch, index)
        found["loss"] = torch.stack(list(found.values())).mean()
        found |= self.floors(batch)
        self.log_dict({f"{name}_{k}": v for k, v in found.items()}, batch_size=count)
        if index * count >= self.decoded:
            return
        decoded = self.reconstruct(batch)
        drawn = scores(decoded, batch)
        true = decode(self.autoencoder, batch["latent"], batch)
        drawn["ceiling_mouth"] = scores(true, batch)["psnr_mouth"]
        named = {f"{name}_{k}": v for k, v in drawn.items()}
        self.log_dict(named, batch_size=count, prog_bar=True)
        if index == 0:
            self.log_pictures(decoded, batch)

    def binned_losses(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Losses at the middle of each range of timesteps, with noise that is always the same."""
        losses, count = {}, len(batch["latent"])
        width = self.diffusion.settings.timesteps // BINS
        for middle in range(width // 2, BINS * width, width):
            timestep = torch.full((count,), middle)
            generator = self.generator(index, middle)
            losses[f"loss_t{middle:03d}"] = self.loss(batch, timestep, generator)
        return losses

    def floors(self, batch: Batch) -> dict[str, Tensor]:
        """L2 of the landmark and of the identity latent taken for the video's, to be beaten.

        In the units of the loss, so that `loss` compares with them where the network predicts x0.
        """
        condition, channels = batch["condition"], batch["latent"].shape[1]
        guesses = {"landmark": condition[:, :channels], "identity": condition[:, -channels:]}
        to_x0 = self.unet.scale.to_x0
        truth = to_x0(batch["latent"], condition)
        return {
            f"floor_{name}_latent": F.mse_loss(to_x0(guess, condition), truth)
            for name, guess in guesses.items()
        }

    def reconstruct(self, batch: Batch) -> Tensor:
        """Sampled and decoded clips (B, 3, S, H, W)."""
        latents = generate_latents(
            self.unet,
            self.diffusion,
            batch["condition"],
            generator=self.generator(0),
            steps=self.steps,
            sampler=self.sampler,
        )
        return decode(self.autoencoder, latents, batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what `python -m mtov export` puts into a bundle."""
        style = self.trainer.datamodule.window.landmark_style  # type: ignore[attr-defined]
        checkpoint["export"] = {
            "name": "unet",
            "prefix": "unet.",
            "section": asdict(self.unet.settings),
            "more": {
                "diffusion": asdict(self.diffusion.settings),
                "conditions": {"landmark_style": style},
            },
        }


class LatentData(WindowData):
    """Latents of training windows, made once by the frozen networks of the module's bundle."""

    def __init__(
        self,
        folders: list[str],
        cache_folder: str = "cache/latents",
        cache: CacheSettings = CacheSettings(),  # noqa: B008 (frozen)
        **options: Any,
    ) -> None:
        """
        Args:
            folders: data set folders, each made by `moditalker prepare`.
            cache_folder: where the latents are kept.
            cache: which windows are encoded.
            options: those of mtov.datamodule.WindowData.
        """
        super().__init__(folders, **options)
        self.cache_folder, self.cache_settings = cache_folder, cache
        self.caches: dict[str, LatentCache] = {}
        self.clips: dict[str, list[Clip]] = {}

    def prepare_data(self) -> None:
        """Encode what `fit`, `validate` or `test` will read and no earlier run has encoded."""
        assert self.trainer is not None and self.trainer.state.fn is not None
        self.setup(self.trainer.state.fn.value)
        for name, cache in self.caches.items():
            cache.fill(self.clips[name], rank_zero_info)

    def setup(self, stage: str) -> None:
        """Open the clips and name the caches that `stage` reads: `training`, `fixed`."""
        super().setup(stage)
        fixed = spread(self.testing or self.validation or self.training, self.validation_windows)
        stride = max(1, sum(map(len, fixed)) // self.validation_windows)
        sparse = replace(self.cache_settings, stride=stride, variants=1)
        self.clips = {"fixed": fixed}
        networks = self.networks()
        self.caches = {"fixed": self.open_cache(networks, sparse, augment=False)}
        if stage == "fit":
            self.clips["training"] = self.training
            self.caches["training"] = self.open_cache(networks, self.cache_settings, augment=True)

    def networks(self) -> tuple[TriPlaneAutoencoder, TriPlaneEncoder]:
        """The frozen networks of the module's bundle, on the trainer's device."""
        assert self.trainer is not None, "LatentData works under a Trainer"
        bundle = str(self.trainer.lightning_module.bundle)
        device = self.trainer.strategy.root_device
        return load_autoencoder(bundle).to(device), load_landmark_encoder(bundle).to(device)

    def open_cache(
        self,
        networks: tuple[TriPlaneAutoencoder, TriPlaneEncoder],
        cache: CacheSettings,
        augment: bool,
    ) -> LatentCache:
        """The cache of these networks and settings, filled or not."""
        return LatentCache(self.cache_folder, *networks, self.window, cache, self.seed, augment)

    @property
    def planes(self) -> PlaneShape:
        """Shape of the latents' planes."""
        return self.caches["fixed"].planes

    def statistics(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and deviation of training latents, then of their residuals; see LatentCache."""
        return self.caches["training"].statistics(self.clips["training"])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Cached latents from where the optimizer stands, so that a resumed run sees the same."""
        assert self.trainer is not None
        cache, clips = self.caches["training"], self.clips["training"]
        latents = RandomLatents(cache, clips, ENDLESS, self.seed)
        sampler = ResumableSampler.of(self.trainer, self.batch_size)
        return DataLoader(latents, self.batch_size, sampler=sampler, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same windows at every validation, with their pictures."""
        return self.fixed_loader()

    def test_dataloader(self) -> DataLoader[Batch]:
        """The same windows at every test, with their pictures."""
        return self.fixed_loader()

    def fixed_loader(self) -> DataLoader[Batch]:
        """Windows spread evenly over the clips that are not trained on."""
        data = FixedLatents(self.caches["fixed"], self.clips["fixed"], self.validation_windows)
        return DataLoader(data, min(self.batch_size, MOST_DECODED))


def spread(clips: list[Clip], count: int) -> list[Clip]:
    """At most `count` clips, evenly chosen."""
    chosen = np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int)
    return [clips[index] for index in chosen]
