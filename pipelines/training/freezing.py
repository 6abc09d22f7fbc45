"""Leaving a pretrained encoder alone until the new layers have settled."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
from torch import nn

from pipelines.training.network import encoder


class Freezing(L.Callback):
    """For the first ``epochs`` the encoder's weights and its running statistics stay as they are.

    What is frozen follows from the number of the epoch alone, so a resumed training freezes the same.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        network = cast(nn.Module, cast(Any, pl_module).trained.network)
        frozen = trainer.current_epoch < self.epochs
        own = encoder(network)
        for parameter in own.values():
            parameter.requires_grad_(not frozen)
        for name, module in network.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and f"{name}.weight" in own:
                module.train(not frozen)
