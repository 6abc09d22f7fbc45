"""Training as a Lightning module: its loss, its metrics, its optimiser."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics.classification import MulticlassConfusionMatrix

from pipelines.config.params import Train
from pipelines.training.batches import Batch, seed_of
from pipelines.training.checkpoint import Normalized
from pipelines.training.losses import IGNORE, CombinedLoss
from pipelines.training.network import encoder


class TrainingTask(L.LightningModule):
    """Trains ``trained`` in place. Logs train_loss, val_loss, val_miou, val_accuracy and val_iou_<class> an epoch."""

    def __init__(self, trained: Normalized, loss: CombinedLoss, train: Train, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.trained, self.loss = trained, loss
        self.settings, self.classes = train, classes
        self.confusion = MulticlassConfusionMatrix(len(classes), ignore_index=IGNORE)
        self.lost: list[Tensor] = []  # loss and labelled pixels of each val batch

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        torch.manual_seed(seed_of(self.settings.seed, self.global_step))  # dropout then repeats after a resume
        logits = self.trained(batch.images)
        found: dict[str, Tensor] = {"loss": self.loss(logits, batch.labels)}
        self.log("train_loss", found["loss"], on_step=False, on_epoch=True, batch_size=len(batch.images))
        if self.settings.hard:
            found["by_chip"] = self.loss.by_chip(logits.detach(), batch.labels)
        return found

    def on_validation_epoch_start(self) -> None:
        self.confusion.reset()
        self.lost.clear()

    def validation_step(self, batch: Batch, step: int) -> None:
        labels, logits = batch.labels, self.trained(batch.images)
        self.lost.append(torch.stack([self.loss(logits, labels), (labels != IGNORE).sum().float()]))
        self.confusion.update(logits.argmax(1), labels)

    def on_validation_epoch_end(self) -> None:
        losses, labelled = torch.stack(self.lost).unbind(1)
        matrix = self.confusion.compute()
        iou = class_iou(matrix)
        self.log("val_loss", (losses * labelled).sum() / labelled.sum())
        self.log("val_miou", iou.nanmean())
        self.log("val_accuracy", matrix.trace() / matrix.sum())
        self.log_dict({f"val_iou_{c}": v for c, v in zip(self.classes, iou, strict=True) if not v.isnan()})

    def configure_optimizers(self) -> Any:
        return optimizers(self.trained, self.settings, int(self.trainer.estimated_stepping_batches))


def optimizers(trained: Normalized, train: Train, steps: int) -> Any:
    """AdamW under one cycle of the learning rate, the encoder at its own share of it, as Lightning takes them."""
    slow = {id(parameter) for parameter in encoder(trained.network).values()}
    parts = [[p for p in trained.parameters() if (id(p) in slow) is chosen] for chosen in (False, True)]
    rates = [rate for rate, part in zip((train.lr, train.lr * train.encoder_lr), parts, strict=True) if part]
    groups = [{"params": part} for part in parts if part]
    optimizer = AdamW(groups, lr=train.lr, weight_decay=train.weight_decay, fused=True)
    planned = max(steps, 2) + (steps == 5)  # of five the first fifth is no step long, by which torch would divide
    schedule = OneCycleLR(optimizer, max_lr=rates, total_steps=planned, pct_start=0.2)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def class_iou(matrix: Tensor) -> Tensor:
    """IoU of each class, ``(classes,)``, from a confusion matrix; NaN for a class neither true nor predicted."""
    hits = matrix.diagonal().double()
    return hits / (matrix.sum(0) + matrix.sum(1) - hits)
