"""The bar that a network has to clear: a random forest that sees one pixel at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from pipelines.dataset.shards import ChipStore, physical
from pipelines.errors import BadData
from pipelines.evaluation.metrics import IGNORE

PIXELS = 60_000  # of the train split; more change little and cost much
_CHIPS = 64  # read at a time


def train_pixels(store: ChipStore, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """About ``PIXELS`` usable pixels ``(pixels, bands)`` of the train chips in physical units, and their classes.

    Each chip gives the same share, so that every place is in it.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero((store.index["split"] == "train").to_numpy())
    if not rows.size:
        raise BadData("data/chips has no train chip; chip the dataset again.")
    each = max(1, PIXELS // len(rows))
    pixels, classes = [], []
    for start in range(0, len(rows), _CHIPS):
        chosen = rows[start : start + _CHIPS]
        images, labels, _ = store.gather(chosen)
        values = physical(images, store.scale[chosen], store.offset[chosen])
        for value, label in zip(values, labels, strict=True):
            usable = np.flatnonzero(label.ravel() != IGNORE)
            drawn = rng.choice(usable, min(each, usable.size), replace=False)
            pixels.append(value.reshape(len(value), -1)[:, drawn].T)
            classes.append(label.ravel()[drawn])
    return np.concatenate(pixels), np.concatenate(classes)


def pixel_forest(
    pixels: NDArray[np.float32], classes: NDArray[np.uint8], seed: int
) -> Callable[[NDArray[np.float32]], NDArray[np.uint8]]:
    """Train on ``(pixels, bands)`` and return the classifier of such pixels."""
    forest = RandomForestClassifier(n_estimators=50, max_depth=16, n_jobs=-1, random_state=seed)
    forest.fit(pixels, classes)

    def classify(of: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.asarray(forest.predict(of), np.uint8)

    return classify
