"""Statistics of bands, gathered while their pixels pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from pipelines.scenes.scene import MaskBit

_SAMPLE = 1_000_000  # pixels, at most, that percentiles are taken from


class Tally:
    """Count, extremes, mean, deviation and percentiles of the pixels that have data, by band.

    Percentiles are those of a regular sample of the scene's grid; all else is exact.
    """

    def __init__(self, bands: int, width: int, height: int) -> None:
        self.pixels = 0
        self.valid = 0
        self.cloudy = 0  # cloud or shadow, of the valid ones
        self._step = max(1, math.ceil(math.sqrt(width * height / _SAMPLE)))
        self._sums = np.zeros(bands)
        self._squares = np.zeros(bands)
        self.minimum = np.full(bands, np.inf)
        self.maximum = np.full(bands, -np.inf)
        self._samples: list[NDArray[Any]] = []

    def add(self, window: Window, pixels: NDArray[Any], mask: NDArray[np.uint8]) -> None:
        """Take in ``pixels`` ``(bands, rows, columns)`` and their ``mask`` ``(rows, columns)``."""
        valid = (mask & MaskBit.NODATA) == 0
        self.pixels += valid.size
        self.valid += int(valid.sum())
        self.cloudy += int((valid & ((mask & (MaskBit.CLOUD | MaskBit.SHADOW)) > 0)).sum())
        if not valid.any():
            return
        values = pixels[:, valid].astype(np.float64)
        self._sums += values.sum(axis=1)
        self._squares += np.square(values).sum(axis=1)
        self.minimum = np.minimum(self.minimum, values.min(axis=1))
        self.maximum = np.maximum(self.maximum, values.max(axis=1))
        rows = slice(-int(window.row_off) % self._step, None, self._step)
        columns = slice(-int(window.col_off) % self._step, None, self._step)
        self._samples.append(pixels[:, rows, columns][:, valid[rows, columns]])

    @property
    def mean(self) -> NDArray[np.float64]:
        return self._sums / self.valid

    @property
    def std(self) -> NDArray[np.float64]:
        return np.sqrt(np.maximum(self._squares / self.valid - self.mean**2, 0))

    def percentile(self, share: float) -> NDArray[np.float64]:
        """The ``share`` percentile of each band; its minimum where the sample met no pixel with data."""
        sample = np.concatenate(self._samples, axis=1) if self._samples else np.empty((len(self._sums), 0))
        return np.percentile(sample, share, axis=1) if sample.shape[1] else self.minimum
