"""Scenes through a model, as prediction would map them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import Task
from pipelines.inference.stitch import Predictor, RowBand, memory_need, stitched
from pipelines.inference.strip import Source
from pipelines.inference.windows import Axis, axes

_BATCH = 8
_MEMORY = 2_000_000_000  # bytes; more only where one thread needs it for a row of windows


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
        least, calls = self._need(source, down, across, 1), self.calls
        while calls > 1 and self._need(source, down, across, calls) > max(_MEMORY, least):
            calls -= 1
        return stitched(
            source,
            self.predictor,
            classes=self.classes,
            fill=self.fill,
            down=down,
            across=across,
            batch=_BATCH,
            max_memory=max(_MEMORY, least),
            calls=calls,
        )

    def _need(self, source: Source, down: Axis, across: Axis, calls: int) -> int:
        return memory_need(
            source.bands, source.width, classes=self.classes, down=down, across=across, batch=1, calls=calls
        )
