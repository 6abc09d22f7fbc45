"""What a map shows of each pixel: its class, how sure the model is, and on request more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import Also, LabelClass

CLASSES, CONFIDENCE, PROBABILITIES, ENTROPY = "classes.tif", "confidence.tif", "probabilities.tif", "entropy.tif"
NODATA = 255  # in all layers
PERCENT = 0.01  # scale of confidence and entropy: their pixels are whole percents
STEP = 0.004  # scale of probabilities: 250 is 1

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """One file of a map. ``draw`` makes bytes ``(bands, rows, width)`` of probabilities ``(classes, rows, width)``."""

    file: str
    title: str
    bands: tuple[str, ...]
    draw: Callable[[NDArray[np.float32]], Pixels]
    overviews: str  # GDAL's resampling
    scale: float | None = None
    tags: tuple[tuple[str, str], ...] = ()

    def of(self, probabilities: NDArray[np.float32], mask: NDArray[np.uint8]) -> Pixels:
        """``(bands, rows, width)``, ``NODATA`` where ``mask`` ``(rows, width)`` is not 0."""
        drawn = self.draw(probabilities)
        drawn[:, mask != 0] = NODATA
        return drawn


def layers(classes: Sequence[LabelClass], also: Sequence[Also] = ()) -> tuple[Layer, ...]:
    """Classes and confidence, then those of ``also`` that are rasters."""
    names = tuple(c.name for c in classes)
    legend = json.dumps({str(i): name for i, name in enumerate(names)})
    found = [
        Layer(CLASSES, "Classes", ("class",), _classes, "MODE", tags=(("classes", legend),)),
        Layer(CONFIDENCE, "Probability of the class", ("probability of the class",), _confidence, "AVERAGE", PERCENT),
    ]
    if "probabilities" in also:
        found.append(Layer(PROBABILITIES, "Probability of each class", names, _probabilities, "AVERAGE", STEP))
    if "entropy" in also:
        title = "Uncertainty: entropy of the probabilities, of the most there can be"
        found.append(Layer(ENTROPY, title, ("entropy",), _entropy, "AVERAGE", PERCENT))
    return tuple(found)


def _classes(probabilities: NDArray[np.float32]) -> Pixels:
    found: Pixels = probabilities.argmax(axis=0, keepdims=True).astype(np.uint8)
    return found


def _confidence(probabilities: NDArray[np.float32]) -> Pixels:
    return _bytes(probabilities.max(axis=0, keepdims=True), PERCENT)


def _probabilities(probabilities: NDArray[np.float32]) -> Pixels:
    return _bytes(probabilities, STEP)


def _entropy(probabilities: NDArray[np.float32]) -> Pixels:
    """Shannon's entropy, divided by that of equal probabilities."""
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    entropy = -(probabilities * logarithms).sum(axis=0, keepdims=True) / np.log(len(probabilities))
    return _bytes(entropy, PERCENT)


def _bytes(values: NDArray[np.float32], scale: float) -> Pixels:
    found: Pixels = np.rint(values / scale).clip(0, 1 / scale).astype(np.uint8)
    return found
