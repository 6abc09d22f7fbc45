"""Scenes through a model, as prediction would map them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import Task
from pipelines.inference.stitch import Predictor, RowBand, stitched
from pipelines.inference.strip import Source
from pipelines.inference.windows import axes

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
    task: Task = "segmentation"
    calls: int = 1

    def __call__(self, source: Source) -> Iterator[RowBand]:
        down, across = axes(source.height, source.width, self.window, self.overlap, self.task)
        return stitched(
            source,
            self.predictor,
            classes=self.classes,
            fill=self.fill,
            down=down,
            across=across,
            batch=_BATCH,
            max_memory=_MEMORY,
            calls=self.calls,
        )
