"""The course of a training as a Lightning callback: curves, the best weights, when to stop."""

from __future__ import annotations

import logging
import math
from typing import Any, cast

import lightning as L
import pandas as pd
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from pipelines.progress import report
from pipelines.training.tracking import log_epoch

_log = logging.getLogger(__name__)


class History(L.Callback):
    """Keeps one row an epoch and the weights of the epoch with the least val loss.

    These are the weights that were validated, so it stands before a callback that averages weights and puts the
    training's own back after validation. All of it lies in the one checkpoint file of an epoch, so a kill can't part
    the weights from what is known of them.
    """

    def __init__(self, stopping: EarlyStopping, score: str, called: str) -> None:
        """``score`` is the metric that people are told, as ``called``."""
        self.stopping, self.score, self.called = stopping, score, called
        self.columns = ("train_loss", "val_loss", score, "lr")
        self.rows: list[dict[str, float]] = []
        self.best_loss = math.inf
        self.best_epoch = -1
        self.best: dict[str, Tensor] = {}
        self._validated: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # a run that was killed after it had stopped early is resumed only to be finished
        ended = bool(self.rows) and not math.isfinite(self.rows[-1]["val_loss"])
        trainer.should_stop = ended or self.stopping.wait_count >= self.stopping.patience

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        state = cast(nn.Module, pl_module.trained).state_dict()
        self._validated = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        epoch = trainer.current_epoch + 1
        if values["val_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = values["val_loss"], epoch
            self.best = self._validated
        self.rows.append({"epoch": epoch} | {name: values[name] for name in self.columns})
        log_epoch(epoch, {name: value for name, value in values.items() if math.isfinite(value)})
        said = f"epoch {epoch} of {trainer.max_epochs}, {self.called} {values[self.score]:.2f}"
        report(epoch, trainer.max_epochs or epoch, said)
        _log.info("%s, train loss %.3f, val loss %.3f", said, values["train_loss"], values["val_loss"])

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=["epoch", *self.columns])

    def state_dict(self) -> dict[str, Any]:
        kept = ("rows", "best_loss", "best_epoch", "best")
        return {name: getattr(self, name) for name in kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)
