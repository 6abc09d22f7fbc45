"""Crops and augmentation of whole batches, from a generator of its own so that a resumed run draws the same.

What is drawn is not applied here: changes of light go into the scale and offset that pixels are multiplied with anyway,
and a chip is turned while it is copied into its batch.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.crop import Crop
from pipelines.dataset.shards import band_means
from pipelines.dataset.statistics import hidden

BRIGHTNESS, CONTRAST, COLOR = 0.2, 0.3, 0.1  # largest relative changes
HAZE = 0.3  # largest shift, in standard deviations of the band


class Attitude(NamedTuple):
    """How a chip comes to lie: mirrored along either axis, then turned by quarters."""

    upside_down: bool = False
    mirrored: bool = False
    quarters: int = 0


def crops(count: int, size: int, side: int, chance: np.random.Generator) -> Crop:
    """In each of ``count`` chips of ``size`` pixels a window of ``side``, each place as likely as any other."""
    return Crop(chance.integers(size - side + 1, size=(count, 2)), side)


def attitudes(count: int, names: Collection[str], chance: np.random.Generator) -> list[Attitude]:
    """One for each chip; ``flip`` mirrors along either axis, ``rotate90`` turns by quarters."""
    flips = chance.random((count, 2)) < 0.5 if "flip" in names else np.zeros((count, 2), np.bool_)
    quarters = chance.integers(4, size=count) if "rotate90" in names else np.zeros(count, np.int64)
    return [Attitude(bool(flip[0]), bool(flip[1]), int(quarter)) for flip, quarter in zip(flips, quarters, strict=True)]


def turned(field: NDArray[Any], attitude: Attitude) -> NDArray[Any]:
    """A view of ``field`` ``(..., side, side)``."""
    down, across = (-1 if flip else 1 for flip in attitude[:2])
    return np.rot90(field[..., ::down, ::across], attitude.quarters, (-2, -1))


def lit(
    pixels: NDArray[Any],
    masks: NDArray[np.uint8],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    names: Collection[str],
    chance: np.random.Generator,
    stds: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``scale`` and ``offset`` ``(n, bands)`` of chips under another light, each chip's by chance of its own.

    ``pixels`` is ``(n, bands, side, side)``, ``masks`` ``(n, side, side)``, ``stds`` ``(bands,)`` those of the train
    split. ``brightness`` multiplies a chip's physical values by 0.8 to 1.2, as light does, ``color`` each band by 0.9
    to 1.1, ``contrast`` their distance from the band's mean over the chip by 0.7 to 1.3, and ``haze`` adds up to 0.3
    standard deviations to all bands together. Masked pixels decide nothing, whatever they hold.
    """

    def change(reach: float, bands: int = 1) -> NDArray[np.float64]:
        return reach * chance.uniform(-1, 1, (len(pixels), bands))

    gain, shift = np.ones(scale.shape), np.zeros(scale.shape)  # a value x becomes gain * x + shift
    if "brightness" in names:
        gain *= 1 + change(BRIGHTNESS)
    if "color" in names:
        gain *= 1 + change(COLOR, scale.shape[1])
    if "contrast" in names:
        stored = [band_means(image, ~none) for image, none in zip(pixels, hidden(masks), strict=True)]
        means = gain * (np.array(stored) * scale + offset)
        factor = 1 + change(CONTRAST)
        gain, shift = gain * factor, means * (1 - factor)
    if "haze" in names:
        shift += stds * change(HAZE)
    return (scale * gain).astype(np.float32), (offset * gain + shift).astype(np.float32)
