"""The moving average of weights: it generalises better than the last ones, and evens out the statistics of batches."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn


def moving_average(decay: float) -> WeightAveraging:
    """Keep an exponential moving average of weights and buffers, step by step, and validate that.

    The first steps count more: after n of them the decay is at most (1 + n) / (10 + n), so a short training does not
    keep the random weights that it began with (TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).
    """

    def average(averaged: Any, current: Any, count: Any) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averaged, current, count)

    # Lightning makes the average before it moves the network, so it has to be told where that goes.
    return WeightAveraging(device="cuda" if torch.cuda.is_available() else "cpu", multi_avg_fn=average)
