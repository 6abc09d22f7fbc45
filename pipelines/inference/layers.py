"""What a map shows of each pixel: its class, how sure the model is, and on request more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import Also, LabelClass
from pipelines.inference.arrays import Array, host, namespace
from pipelines.inference.ensemble import entropy

CLASSES, CONFIDENCE, PROBABILITIES, ENTROPY = "classes.tif", "confidence.tif", "probabilities.tif", "entropy.tif"
DISAGREEMENT = "disagreement.tif"
NODATA = 255  # in all layers
PERCENT = 0.01  # scale of confidence and entropy: their pixels are whole percents
STEP = 0.004  # scale of probabilities: 250 is 1

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """One file of a map. ``draw`` makes bytes ``(bands, rows, width)`` of the channels ``(n, rows, width)`` that are
    ``seen``: the probabilities of the classes, and after them what an ensemble adds.
    """

    file: str
    title: str
    bands: tuple[str, ...]
    draw: Callable[[Array], Array]
    overviews: str  # GDAL's resampling
    seen: slice
    scale: float | None = None
    tags: tuple[tuple[str, str], ...] = ()

    def of(self, probabilities: Array, mask: NDArray[np.uint8]) -> Pixels:
        """``(bands, rows, width)``, ``NODATA`` where ``mask`` ``(rows, width)`` is not 0.

        It is drawn where the probabilities are, and given in main memory.
        """
        drawn: Pixels = host(self.draw(probabilities[self.seen]))
        drawn[:, mask != 0] = NODATA
        return drawn


def layers(classes: Sequence[LabelClass], also: Sequence[Also] = (), ensemble: bool = False) -> tuple[Layer, ...]:
    """Classes and confidence, then those of ``also`` that are rasters, then where an ``ensemble`` disagrees."""
    names = tuple(c.name for c in classes)
    own, surest = slice(len(names)), "Probability of the class"
    legend = json.dumps({str(i): name for i, name in enumerate(names)})
    found = [
        Layer(CLASSES, "Classes", ("class",), _classes, "MODE", own, tags=(("classes", legend),)),
        Layer(CONFIDENCE, surest, (surest.lower(),), _confidence, "AVERAGE", own, PERCENT),
    ]
    if "probabilities" in also:
        found.append(Layer(PROBABILITIES, "Probability of each class", names, _probabilities, "AVERAGE", own, STEP))
    if "entropy" in also:
        title = "Uncertainty: entropy of the probabilities, of the most there can be"
        found.append(Layer(ENTROPY, title, ("entropy",), _entropy, "AVERAGE", own, PERCENT))
    if ensemble:
        title = "Disagreement of the models: mutual information of class and model, of the most there can be"
        last = slice(len(names), None)
        found.append(Layer(DISAGREEMENT, title, ("disagreement",), _shares, "AVERAGE", last, PERCENT))
    return tuple(found)


def _classes(probabilities: Array) -> Array:
    xp = namespace(probabilities)
    return xp.astype(xp.argmax(probabilities, axis=0, keepdims=True), xp.uint8)


def _confidence(probabilities: Array) -> Array:
    return _bytes(namespace(probabilities).max(probabilities, axis=0, keepdims=True), PERCENT)


def _probabilities(probabilities: Array) -> Array:
    return _bytes(probabilities, STEP)


def _entropy(probabilities: Array) -> Array:
    return _bytes(entropy(probabilities, axis=0)[None], PERCENT)


def _shares(values: Array) -> Array:
    return _bytes(values, PERCENT)


def _bytes(values: Array, scale: float) -> Array:
    xp = namespace(values)
    return xp.astype(xp.round(values / scale).clip(0, 1 / scale), xp.uint8)
