"""The trained network on chips as they were cut: what the temperature is fitted on, and chip-level scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.statistics import fill_masked
from pipelines.evaluation.calibration import BINS, fit_temperature, reliability
from pipelines.evaluation.metrics import IGNORE, Counts, confusion
from pipelines.inference.views import Logits, averaged

_BATCH = 32
_CALIBRATION_PIXELS = 200_000  # one number is fitted; more change it in the third digit


def network_logits(network: nn.Module, views: int = 1) -> Logits:
    """Logits of ``network``, averaged over ``views``, on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.eval().to(device)

    @torch.inference_mode()
    def logits(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = network(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
        return found

    return averaged(logits, views)


def labelled(
    logits: Logits, store: ChipStore, rows: NDArray[np.integer], means: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Logits ``(pixels, classes)`` and truth ``(pixels,)`` of the labelled pixels of each chip."""
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        images, labels, masks = store.gather(batch)
        pixels = fill_masked(physical(images, store.scale[batch], store.offset[batch]), masks, means)
        for chip, label in zip(logits(pixels), labels, strict=True):
            kept = label != IGNORE
            yield chip[:, kept].T, label[kept]


def val_temperature(logits: Logits, store: ChipStore, means: NDArray[np.float32], seed: int) -> float:
    """The temperature fitted on an even sample of the val chips' pixels."""
    random = np.random.default_rng(seed)
    rows = store.rows("val")
    each = max(1, _CALIBRATION_PIXELS // max(len(rows), 1))
    scores = [np.empty((0, len(store.classes)), np.float32)]
    truths = [np.empty(0, np.uint8)]
    for values, truth in labelled(logits, store, rows, means):
        drawn = random.choice(len(truth), min(each, len(truth)), replace=False)
        scores.append(values[drawn])
        truths.append(truth[drawn])
    return fit_temperature(np.concatenate(scores), np.concatenate(truths))


@dataclass(frozen=True)
class ChipScores:
    """Counts over the test chips, each predicted by itself."""

    confusion: Counts
    before: NDArray[np.float64]  # reliability of softmax(logits)
    after: NDArray[np.float64]  # and of softmax(logits / temperature)


def score_chips(logits: Logits, store: ChipStore, means: NDArray[np.float32], temperature: float) -> ChipScores:
    """Score the test chips one by one, without the context that stitching gives their borders."""
    classes = len(store.classes)
    counts, before, after = np.zeros((classes, classes), np.int64), np.zeros((3, BINS)), np.zeros((3, BINS))
    for values, truth in labelled(logits, store, store.rows("test"), means):
        predicted = values.argmax(axis=1).astype(np.uint8)
        counts += confusion(truth, predicted, classes)
        for total, divisor in ((before, 1.0), (after, temperature)):
            # the largest of softmax(x) is 1 / sum(exp(x - max x))
            confidence = 1 / np.exp((values - values.max(axis=1, keepdims=True)) / divisor).sum(axis=1)
            total += reliability(confidence, predicted == truth)
    return ChipScores(counts, before, after)
