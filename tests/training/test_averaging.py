from __future__ import annotations

from types import SimpleNamespace

import lightning as L
import pytest
import torch

from pipelines.training.averaging import moving_average


class Number(L.LightningModule):
    """One weight that is trained, and one number that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.register_buffer("constant", torch.tensor(0.1))


def averaged(decay: float, steps: list[float]) -> tuple[float, Number]:
    """What is validated after a training whose weight took these values, step by step."""
    module, callback = Number(), moving_average(decay)
    callback.setup(SimpleNamespace(), module, "fit")
    for number, value in enumerate(steps, 1):
        module.weight.data.fill_(value)
        callback.on_train_batch_end(SimpleNamespace(global_step=number), module, None, None, 0)
    callback.on_validation_epoch_start(SimpleNamespace(), module)
    return float(module.weight.detach()), module


def test_what_is_validated_is_the_average_of_the_steps() -> None:
    shown, module = averaged(0.9, [0.0] * 200 + [1.0])
    assert shown == pytest.approx(0.1)
    assert module.constant == torch.tensor(0.1), "what does not change must not drift by rounding"


def test_a_short_training_is_not_held_to_its_beginning() -> None:
    shown, _ = averaged(0.999, [0.0] + [1.0] * 30)
    assert shown > 0.99
