"""The Lightning data module of MToV's first stage, and of the windows that latents are made from."""

from __future__ import annotations

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from moditalker.training.sampler import ENDLESS, ResumableSampler
from mtov.data import Clip, Windows, WindowSettings, read_clips


class WindowData(pl.LightningDataModule):
    """Windows of prepared clips; people named in `validation_people` are kept out of training."""

    def __init__(
        self,
        folders: list[str],
        test_folders: list[str] | None = None,
        validation_people: list[str] | None = None,
        window: WindowSettings = WindowSettings(),  # noqa: B008 (frozen)
        batch_size: int = 4,
        workers: int = 2,
        validation_windows: int = 16,
        seed: int = 0,
    ) -> None:
        """
        Args:
            folders: data set folders, each made by `moditalker prepare`.
            test_folders: data set folders that only `test` reads.
            validation_people: people (manifest's `person`, or how it begins) for `validate`.
            window: how windows are drawn.
            batch_size: windows a step.
            workers: processes that read windows.
            validation_windows: windows that `validate` and `test` look at.
            seed: decides every window together with its number.
        """
        super().__init__()
        self.folders, self.test_folders = folders, test_folders or folders
        self.validation_people = tuple(validation_people or ())
        self.window, self.batch_size, self.workers = window, batch_size, workers
        self.validation_windows, self.seed = validation_windows, seed
        self.training: list[Clip] = []
        self.validation: list[Clip] = []
        self.testing: list[Clip] = []

    def setup(self, stage: str) -> None:
        """Open the clips that `stage` reads."""
        least, size = self.window.frames + 1, self.window.size
        if stage == "test":
            self.testing = read_clips(self.test_folders, size, least)
            return
        clips = read_clips(self.folders, size, least)
        self.validation = [clip for clip in clips if self.kept_out(clip)]
        self.training = [clip for clip in clips if not self.kept_out(clip)]

    def kept_out(self, clip: Clip) -> bool:
        """Whether the person is one of the validation's."""
        return bool(self.validation_people) and clip.person.startswith(self.validation_people)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Windows from where the optimizer stands, so that a resumed run sees what it would have."""
        windows = Windows(self.training, self.window, ENDLESS, self.seed)
        sampler = ResumableSampler.of(self.trainer, self.batch_size)
        return DataLoader(windows, self.batch_size, sampler=sampler, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """The same windows at every validation, not augmented."""
        return self.fixed(self.validation or self.training)

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """The same windows at every test, not augmented."""
        return self.fixed(self.testing)

    def fixed(self, clips: list[Clip]) -> DataLoader[dict[str, Tensor]]:
        """So many windows of `clips`, always the same."""
        windows = Windows(clips, self.window, self.validation_windows, self.seed + 1, augment=False)
        return DataLoader(windows, self.batch_size)
