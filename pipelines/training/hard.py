"""Meeting chips again on which the network does badly, such as rare look-alikes of a class."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.training.batches import Batch


class HardChips(L.Callback):
    """Remembers the loss of each train chip when it was last seen, and puts the worst into the next epoch once more.

    What it remembers lies in the checkpoint of an epoch and changes between epochs alone, so a resumed training draws
    the same chips. ``TrainingTask`` tells the losses by chip when it has ``by_chip``.
    """

    def __init__(self, share: float, chips: int) -> None:
        """``share`` of an epoch's chips are such; ``chips`` counts those of all splits, as the rows of batches do."""
        self.share = share
        self.losses = np.full(chips, -np.inf, np.float32)  # of chips that were never seen
        self._seen: list[tuple[Tensor, Tensor]] = []  # rows and losses of this epoch's batches

    def mixed(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """As many rows: the worst of ``rows``, and before them the first of ``rows`` as they are.

        All of them as they are before any was seen.
        """
        again = round(self.share * len(rows))
        if not np.isfinite(self.losses[rows]).any():
            return rows
        worst = rows[np.argsort(-self.losses[rows], kind="stable")[:again]]
        return np.concatenate([rows[: len(rows) - again], worst])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._seen.append((batch.rows, outputs["by_chip"]))  # left where they are: to fetch them is to wait for a GPU

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for rows, losses in self._seen:
            self.losses[rows.cpu().numpy()] = losses.cpu().numpy()
        self._seen.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"losses": torch.from_numpy(self.losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses = state_dict["losses"].numpy()
