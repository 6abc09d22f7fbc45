"""Training of detectors: batches of chips with their objects, and the Lightning module."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipelines.config.params import Train
from pipelines.dataset.boxes import BoxStore, usable
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.statistics import Statistics
from pipelines.labels.boxes import VISIBLE, Boxes
from pipelines.training.augment import Attitude
from pipelines.training.batches import BatchOrder, ChipBatches, Draw, Loader, seed_of
from pipelines.training.checkpoint import Normalized
from pipelines.training.coco import average_precision, coco_evaluator
from pipelines.training.detector import Detector, Target
from pipelines.training.objects import suppressed
from pipelines.training.task import optimizers

AP50 = "val_map50"


class ObjectBatch(NamedTuple):
    """Images ``(n, bands, h, w)`` float32, physical, masked pixels filled; and the objects of each."""

    images: Tensor
    targets: list[Target]


class ObjectBatches(Dataset[ObjectBatch]):
    """Chips with their objects as batches."""

    def __init__(self, chips: ChipBatches, boxes: BoxStore) -> None:
        self.chips, self.boxes = chips, boxes

    def __getitem__(self, draw: Draw) -> ObjectBatch:
        batch, crop, lie = self.chips.drawn(draw)
        targets = []
        for i, (row, attitude) in enumerate(zip(draw.rows, lie, strict=True)):
            boxes = self.boxes.of(int(row))
            if crop:
                top, left = crop.corners[i].tolist()
                boxes, _ = boxes.within(left, top, crop.side, crop.side, VISIBLE, self.boxes.areas(int(row)))
            boxes = Boxes(turned_boxes(boxes.corners, attitude, batch.images.shape[-1]), boxes.classes)
            if crop:  # what is left of an object may lie under a cloud
                shown = usable(boxes, batch.labels[i].numpy())
                boxes = Boxes(boxes.corners[shown], boxes.classes[shown])
            corners, classes = (torch.from_numpy(part) for part in boxes)
            targets.append({"boxes": corners, "labels": classes.long()})
        return ObjectBatch(batch.images, targets)


def turned_boxes(corners: NDArray[np.float32], attitude: Attitude, side: int) -> NDArray[np.float32]:
    """Boxes ``(n, 4)`` of a square chip of ``side`` pixels that has come to lie as ``attitude`` says."""
    x, y = corners[:, 0::2], corners[:, 1::2]
    x, y = side - x if attitude.mirrored else x, side - y if attitude.upside_down else y
    for _ in range(attitude.quarters):
        x, y = y, side - x
    found: NDArray[np.float32] = np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)
    return found


def train_loader(store: ChipStore, boxes: BoxStore, statistics: Statistics, train: Train) -> Loader[ObjectBatch]:
    """Shuffled, cropped and augmented batches of the train split."""
    chips = ChipBatches(store, statistics, train.augment, train.seed, train.crop)
    order = BatchOrder(store.rows("train"), train.batch, train.seed)
    return Loader(ObjectBatches(chips, boxes), order)


def loader(store: ChipStore, boxes: BoxStore, statistics: Statistics, split: str, batch: int) -> Loader[ObjectBatch]:
    """Batches of a split as they are, in the order of the index."""
    chips = ObjectBatches(ChipBatches(store, statistics, (), 0), boxes)
    return Loader(chips, BatchOrder(store.rows(split), batch, None))


class DetectionTask(L.LightningModule):
    """Trains ``trained``, a ``Detector``, in place. Logs train_loss, val_loss and val_map50 an epoch."""

    def __init__(self, trained: Normalized, train: Train) -> None:
        super().__init__()
        self.trained, self.settings = trained, train
        self.evaluator = coco_evaluator()
        self.lost: list[Tensor] = []  # loss and chips of each val batch

    def training_step(self, batch: ObjectBatch, step: int) -> Tensor:
        torch.manual_seed(seed_of(self.settings.seed, self.global_step))
        loss = self._loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.images))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.evaluator.reset()
        self.lost.clear()

    def validation_step(self, batch: ObjectBatch, step: int) -> None:
        loss = self._loss(batch)
        self.lost.append(torch.stack([loss, loss.new_tensor(len(batch.images))]))
        answers = self.trained(batch.images).float().cpu().numpy()
        self.evaluator.update(predictions(answers), [_on_cpu(target) for target in batch.targets])

    def on_validation_epoch_end(self) -> None:
        losses, chips = torch.stack(self.lost).unbind(1)
        self.log("val_loss", (losses * chips).sum() / chips.sum())
        at_half = [each[0] for each in average_precision(self.evaluator).values() if np.isfinite(each[0])]
        self.log(AP50, float(np.mean(at_half)) if at_half else 0.0)

    def configure_optimizers(self) -> Any:
        return optimizers(self.trained, self.settings, int(self.trainer.estimated_stepping_batches))

    def _loss(self, batch: ObjectBatch) -> Tensor:
        detector = cast(Detector, self.trained.network)
        return detector.losses((batch.images - self.trained.mean) / self.trained.std, batch.targets)


def predictions(answers: NDArray[np.float32]) -> list[dict[str, Tensor]]:
    """Objects of each image, as torchmetrics takes them, from a detector's answers ``(n, places, 4 + classes)``."""
    found = [suppressed(answer) for answer in answers]
    return [
        {
            "boxes": torch.from_numpy(objects.boxes),
            "scores": torch.from_numpy(objects.scores),
            "labels": torch.from_numpy(objects.classes).long(),
        }
        for objects in found
    ]


def _on_cpu(target: Target) -> Target:
    return {name: tensor.cpu() for name, tensor in target.items()}
