"""Scenes through a model, as prediction would map them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.inference.stitch import Predictor, RowBand, stitched
from pipelines.inference.strip import Source

_BATCH = 8
_MEMORY = 2_000_000_000  # bytes


@dataclass(frozen=True)
class Stitcher:
    """A model with the windows that it is used with."""

    predictor: Predictor
    classes: int
    fill: NDArray[np.float32]  # (bands,), physical: what masked pixels are set to
    window: int
    overlap: int

    def __call__(self, source: Source) -> Iterator[RowBand]:
        return stitched(
            source,
            self.predictor,
            classes=self.classes,
            fill=self.fill,
            window=self.window,
            overlap=self.overlap,
            batch=_BATCH,
            max_memory=_MEMORY,
        )
