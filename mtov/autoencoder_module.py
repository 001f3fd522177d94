"""Lightning modules of MToV's first stage: the RGB autoencoder, then the landmark encoder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from mtov.asymmetric import AsymmetricDecoder
from mtov.autoencoder import AutoencoderSettings, TriPlaneAutoencoder, TriPlaneEncoder
from mtov.networks import load_autoencoder
from mtov.perceptual import perceptual_loss

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class LossSettings:
    """Weights of the reconstruction loss, and what part of a clip it looks at."""

    mouth: float = 1.0
    "Weight of pixels in the mouth box; 7 with the asymmetric decoder (DESIGN §6)."
    perceptual: str = "none"
    "none, lpips-alex, lpips-vgg, or a path to a VGG16 trunk (then it is not LPIPS)."
    perceptual_weight: float = 1.0
    perceptual_start: int = 0
    "L1 alone before this step."
    frames: int = 16
    "Frames of each clip that are decoded in training (asymmetric decoder only)."
    window: int = 256
    "Side in pixels of the square that is decoded in training (asymmetric decoder only)."
    latent_dropout: float = 0.0
    "Part of the steps that train the decoder alone, on an empty latent: the encoder costs most."
    landmark_dropout: float = 0.0
    "Part of the clips whose decoder sees no landmarks, so that the latent learns to tell the mouth."
    latent_penalty: float = 0.0
    "Weight of the mean square of the latent before its tanh, against saturation."
    latent_noise: float = 0.0
    "Standard deviation of noise on the latent, so that the decoder forgives the diffusion model."


class Reconstruction(nn.Module):
    """L1 and a perceptual loss of a decoded clip, on a random part of it where that is allowed."""

    def __init__(self, settings: LossSettings) -> None:
        super().__init__()
        self.settings = settings
        self.perceptual = perceptual_loss(settings.perceptual)

    def forward(
        self, autoencoder: TriPlaneAutoencoder, latent: Tensor, batch: Batch, step: int
    ) -> dict[str, Tensor]:
        """Losses by name; `loss` is their weighted sum."""
        before_tanh = latent.clamp(-0.9999, 0.9999).atanh()
        penalty = self.settings.latent_penalty * before_tanh.square().mean()
        latent = latent + self.settings.latent_noise * torch.randn_like(latent)
        decoded, target, weight = self.decode_part(autoencoder, latent, batch)
        l1 = (weight * (decoded - target).abs()).sum() / weight.sum() / 3
        losses = {"l1": l1, "loss": l1 + penalty}
        if self.perceptual is not None and step >= self.settings.perceptual_start:
            flat = (x.transpose(1, 2).flatten(0, 1) for x in (decoded, target))
            losses["perceptual"] = self.perceptual(*flat)
            losses["loss"] = losses["loss"] + self.settings.perceptual_weight * losses["perceptual"]
        return losses

    def decode_part(
        self, autoencoder: TriPlaneAutoencoder, latent: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded part, its target, and the weights of its pixels (B, 1, S, h, w)."""
        video = batch["video"]
        weight = mouth_weight(batch["mouth_box"], video, self.settings.mouth)
        if not isinstance(decoder := autoencoder.decoder, AsymmetricDecoder):
            return decoder(latent), video, weight
        landmarks = batch.get("landmarks")
        if landmarks is not None and torch.rand(()) < self.settings.landmark_dropout:
            landmarks = None
        pictures = decoder.pictures(batch["pose_frames"], batch["identity_frames"], landmarks)
        frames, rows, columns = self.choose_part(batch, autoencoder.settings.patch)
        coarse = decoder.volume(latent)[:, :, frames][..., rows[0], columns[0]]
        pictures, video, weight = (
            x[:, :, frames][..., rows[1], columns[1]] for x in (pictures, video, weight)
        )
        return decoder.render(coarse, pictures), video, weight

    def choose_part(
        self, batch: Batch, patch: int
    ) -> tuple[Tensor, tuple[slice, slice], tuple[slice, slice]]:
        """Random frames, and a window around the mouth (3 in 4) or anywhere: rows and columns.

        Each side is a slice of the planes and one of the pixels.
        """
        count, size = batch["video"].shape[2], batch["video"].shape[-1]
        frames = torch.randperm(count)[: self.settings.frames].sort().values
        side = min(self.settings.window, size) // patch
        starts = torch.randint(0, size // patch - side + 1, (2,))
        if torch.rand(()) < 0.75:
            boxes = batch["mouth_box"][:, frames].flatten(0, 1).mean(dim=0).cpu()
            centre = (boxes[:2] + boxes[2:]) / 2 / patch
            wanted = centre - side / 2 + torch.rand(2) * 2 - 1
            starts = wanted.round().long().clamp(0, size // patch - side).flip(0)
        rows, columns = (part_of(int(start), side, patch) for start in starts)
        return frames, rows, columns


def part_of(start: int, side: int, patch: int) -> tuple[slice, slice]:
    """Slices of `side` patches from `start`: in planes, and in pixels."""
    stop = start + side
    return slice(start, stop), slice(start * patch, stop * patch)


def mouth_weight(boxes: Tensor, video: Tensor, weight: float) -> Tensor:
    """Weights (B, 1, S, H, W): `weight` inside the mouth boxes (B, S, 4), 1 elsewhere."""
    inside = in_boxes(boxes, video)
    return 1 + (weight - 1) * inside


def in_boxes(boxes: Tensor, video: Tensor) -> Tensor:
    """1 inside the boxes (B, S, 4), 0 elsewhere: (B, 1, S, H, W)."""
    height, width = video.shape[-2:]
    x0, y0, x1, y1 = boxes[..., None].unbind(dim=-2)
    columns, rows = (torch.arange(n, device=video.device) for n in (width, height))
    across, down = (columns >= x0) & (columns < x1), (rows >= y0) & (rows < y1)
    return (down[..., :, None] & across[..., None, :])[:, None].to(video.dtype)


def psnr(decoded: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB of videos in [-1, 1]; over `weight` if given."""
    squared = (decoded.clamp(-1, 1) - target).square()
    error = squared.mean() if weight is None else (weight * squared).sum() / weight.sum() / 3
    return 10 * torch.log10(4 / error)


def scores(decoded: Tensor, batch: Batch) -> dict[str, Tensor]:
    """PSNR of the crop and of the mouth box, and the floor: the identity frame's own mouth."""
    inside = in_boxes(batch["mouth_box"], batch["video"])
    return {
        "psnr": psnr(decoded, batch["video"]),
        "psnr_mouth": psnr(decoded, batch["video"], inside),
        "floor_mouth": psnr(batch["identity_frames"], batch["video"], inside),
    }


def decode(autoencoder: TriPlaneAutoencoder, latent: Tensor, batch: Batch) -> Tensor:
    """Latents (B, 4, N) to video, with the pictures of the batch that the decoder may see."""
    pictures = (batch.get(name) for name in ("pose_frames", "identity_frames", "landmarks"))
    return autoencoder.decode(latent, *pictures)


class FirstStage(pl.LightningModule):
    """What both first-stage modules share: optimizer, validation, pictures."""

    def __init__(self, learning_rate: float, warm_up: int, decay_steps: int | None) -> None:
        super().__init__()
        self.learning_rate, self.warm_up, self.decay_steps = learning_rate, warm_up, decay_steps

    def reconstruct(self, batch: Batch) -> Tensor:
        """The batch's clips (B, 3, S, H, W) as the networks now draw them."""
        raise NotImplementedError

    def validation_step(self, batch: Batch, index: int) -> None:
        decoded = self.reconstruct(batch)
        named = {f"val_{name}": value for name, value in scores(decoded, batch).items()}
        self.log_dict(named, prog_bar=True, batch_size=len(decoded))
        if index == 0:
            self.log_pictures(decoded, batch)

    def test_step(self, batch: Batch, index: int) -> None:
        decoded = self.reconstruct(batch)
        named = {f"test_{name}": value for name, value in scores(decoded, batch).items()}
        self.log_dict(named, batch_size=len(decoded))

    def log_pictures(self, decoded: Tensor, batch: Batch) -> None:
        """A row of identity, pose, landmarks, reconstruction and truth, saved in the log folder."""
        from PIL import Image

        names = ("identity_frames", "pose_frames", "landmarks")
        rows = [*(batch[name] for name in names if name in batch), decoded, batch["video"]]
        picture = torch.cat([row[0, :, 0] for row in rows], dim=-1)
        pixels = ((picture.clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).cpu().numpy()
        folder = Path(self.trainer.log_dir or self.trainer.default_root_dir) / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"step-{self.global_step:07d}.png")

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, self.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factor)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def rate_factor(self, step: int) -> float:
        """Linear warm-up, then constant, or a cosine to a twentieth at `decay_steps`."""
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        if self.decay_steps is None:
            return warm
        done = torch.tensor(min(1.0, step / self.decay_steps))
        return warm * (0.05 + 0.95 * float((1 + torch.cos(torch.pi * done)) / 2))


class AutoencoderModule(FirstStage):
    """Trains the RGB autoencoder, plain or asymmetric, on real frames."""

    def __init__(
        self,
        network: AutoencoderSettings = AutoencoderSettings(),  # noqa: B008 (frozen)
        loss: LossSettings = LossSettings(),
        learning_rate: float = 1e-4,
        warm_up: int = 100,
        decay_steps: int | None = None,
    ) -> None:
        super().__init__(learning_rate, warm_up, decay_steps)
        self.autoencoder = TriPlaneAutoencoder(network)
        self.loss = Reconstruction(loss)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        if torch.rand(()) < self.loss.settings.latent_dropout:
            shape = (len(batch["video"]), self.autoencoder.settings.channels)
            latent = batch["video"].new_zeros(*shape, self.autoencoder.planes.tokens)
        else:
            latent = self.autoencoder.encode(batch["video"])
        losses = self.loss(self.autoencoder, latent, batch, self.global_step)
        self.log_dict({f"train_{k}": v for k, v in losses.items()}, batch_size=len(latent))
        return losses["loss"]

    def reconstruct(self, batch: Batch) -> Tensor:
        latent = self.autoencoder.encode(batch["video"])
        return decode(self.autoencoder, latent, batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what `python -m mtov export` puts into a bundle."""
        checkpoint["export"] = {
            "name": "autoencoder",
            "prefix": "autoencoder.",
            "section": asdict(self.autoencoder.settings),
            "more": {},
        }


class LandmarkEncoderModule(FirstStage):
    """Trains the landmark encoder, begun from the RGB encoder, under the frozen decoder.

    `target` says what the decoder shall draw from a landmark latent: the landmark video itself, as in
    the paper, or, with the asymmetric decoder, the real frames (then the latent of the landmarks is
    a first guess of the latent of the video, and is also drawn to it).
    """

    def __init__(
        self,
        bundle: str,
        loss: LossSettings = LossSettings(),
        target: Literal["landmarks", "video"] = "landmarks",
        latent_weight: float = 0.0,
        learning_rate: float = 1e-4,
        warm_up: int = 100,
        decay_steps: int | None = None,
    ) -> None:
        super().__init__(learning_rate, warm_up, decay_steps)
        self.autoencoder = load_autoencoder(bundle)
        self.autoencoder.requires_grad_(False)
        self.landmark_encoder = TriPlaneEncoder(self.autoencoder.settings)
        self.landmark_encoder.load_state_dict(self.autoencoder.encoder.state_dict())
        self.target, self.latent_weight = target, latent_weight
        self.loss = Reconstruction(loss)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        latent = self.landmark_encoder(batch["landmarks"])
        losses = self.loss(self.autoencoder, latent, self.with_target(batch), self.global_step)
        if self.latent_weight:
            with torch.no_grad():
                wanted = self.autoencoder.encode(batch["video"])
            losses["latent"] = (latent - wanted).square().mean()
            losses["loss"] = losses["loss"] + self.latent_weight * losses["latent"]
        self.log_dict({f"train_{k}": v for k, v in losses.items()}, batch_size=len(latent))
        return losses["loss"]

    def with_target(self, batch: Batch) -> Batch:
        """The batch with what shall be drawn as its video."""
        return batch if self.target == "video" else {**batch, "video": batch["landmarks"]}

    def reconstruct(self, batch: Batch) -> Tensor:
        latent = self.landmark_encoder(batch["landmarks"])
        return decode(self.autoencoder, latent, batch)

    def validation_step(self, batch: Batch, index: int) -> None:
        super().validation_step(self.with_target(batch), index)

    def test_step(self, batch: Batch, index: int) -> None:
        super().test_step(self.with_target(batch), index)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what `python -m mtov export` puts into a bundle."""
        checkpoint["export"] = {
            "name": "landmark_encoder",
            "prefix": "landmark_encoder.",
            "section": asdict(self.landmark_encoder.settings),
            "more": {},
        }
