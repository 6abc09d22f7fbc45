"""TorchGeo's own tasks with their defaults and random weights, trained on the chips of a workspace."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchgeo.trainers import ClassificationTask, SemanticSegmentationTask

from pipelines.config.params import Params
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.statistics import Statistics
from pipelines.errors import BadData
from pipelines.evaluation.metrics import IGNORE
from pipelines.training.batches import BatchOrder, ChipBatches, Draw
from pipelines.training.checkpoint import Normalized
from pipelines.training.network import Whole
from pipelines.training.train import precision

_AUGMENTATION = ("flip",)  # along both axes, as most of TorchGeo's data modules have it


@dataclass(frozen=True)
class Trained:
    """A network behind its normalisation, as ours are, and what it took."""

    network: Normalized
    seconds: float
    epochs: int  # the last may have been cut short
    best_epoch: int  # from 1, that with the least val loss, whose weights these are


class _Batches(ChipBatches):
    """Batches as TorchGeo's tasks take them, normalised as its data modules do."""

    def __init__(self, *given: Any, whole: bool) -> None:
        super().__init__(*given)
        self.whole = whole
        self.normalized = Normalized(nn.Identity(), self.statistics)

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:  # type: ignore[override]
        batch = self.drawn(draw)[0]
        images = self.normalized(batch.images)
        if not self.whole:
            return {"image": images, "mask": batch.labels}
        known = batch.labels.flatten(1)
        return {"image": images, "label": torch.where(known == IGNORE, -1, known).amax(1)}  # a chip has one class


def train(store: ChipStore, statistics: Statistics, params: Params, minutes: float | None, epochs: int) -> Trained:
    """Train for so many minutes, or ``epochs`` where there are none, with the batch and precision of ours.

    ``minutes`` may end within an epoch, which is validated as it is then; one epoch is whole in any case.
    """
    L.seed_everything(params.train.seed, verbose=False)
    task = _task(params, len(store.bands))
    _quiet()
    loaders = [_loader(store, statistics, params, split) for split in ("train", "val")]
    with tempfile.TemporaryDirectory() as folder:
        keep = ModelCheckpoint(folder, monitor="val_loss", filename="{epoch}", save_on_train_epoch_end=False)
        trainer = L.Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=1,
            precision=precision(params.train.precision, torch.cuda.is_available()),
            min_epochs=1,
            max_epochs=-1 if minutes else epochs,
            max_time=timedelta(minutes=minutes) if minutes else None,
            callbacks=[keep],
            logger=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        began = time.monotonic()
        trainer.fit(task, *loaders)
        seconds = time.monotonic() - began
        best = torch.load(keep.best_model_path, map_location="cpu", weights_only=False)  # made a moment ago, by us
        task.load_state_dict(best["state_dict"])
    network = Whole(task.model) if params.task == "classification" else task.model
    trained = Normalized(network, statistics).eval()
    return Trained(trained, seconds, trainer.current_epoch, int(best["epoch"]) + 1)


def _task(params: Params, bands: int) -> Any:
    classes = len(params.labels.classes)
    if params.task == "segmentation":
        return SemanticSegmentationTask(in_channels=bands, num_classes=classes, ignore_index=IGNORE)
    if params.task == "classification":
        return ClassificationTask(in_channels=bands, num_classes=classes)
    raise BadData(f"There is no baseline of TorchGeo for {params.task} here; name a workspace of another task.")


def _loader(store: ChipStore, statistics: Statistics, params: Params, split: str) -> DataLoader[Any]:
    training, settings = split == "train", params.train
    augmentation = _AUGMENTATION if training else ()
    chips = _Batches(store, statistics, augmentation, settings.seed, whole=params.task == "classification")
    order = BatchOrder(store.rows(split), settings.batch, settings.seed if training else None)
    return DataLoader(chips, batch_size=None, sampler=order)


def _quiet() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
