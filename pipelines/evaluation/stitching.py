"""Whole scenes of the catalog through a model, as prediction would map them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import BadData
from pipelines.inference.raster import Raster, RasterSource
from pipelines.inference.stitch import Predictor, RowBand, Source, stitched
from pipelines.scenes.scene import Scene

_BATCH = 8
_MEMORY = 2_000_000_000  # bytes


def open_scene(scene: Scene, catalog: Path, bands: Sequence[str]) -> RasterSource:
    """The pixels of a scene of the catalog in the order of ``bands``. Raises ``BadData`` if it lacks one."""
    names = [band.name for band in scene.bands]
    if missing := [band for band in bands if band not in names]:
        raise BadData(f"Scene {scene.id} lacks the bands {', '.join(missing)} of the model; train a new one.")
    chosen = [names.index(band) for band in bands]
    return Raster(
        id=scene.id,
        image=scene.image_path(catalog),
        mask=scene.mask_path(catalog),
        indexes=tuple(i + 1 for i in chosen),
        scale=tuple(scene.bands[i].scale for i in chosen),
        offset=tuple(scene.bands[i].offset for i in chosen),
        nodata=None,
        crs=scene.crs,
        transform=scene.transform,
        width=scene.width,
        height=scene.height,
        when=scene.datetime,
        sha256=scene.image_sha256,
        source=scene.source,
    ).open()


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
