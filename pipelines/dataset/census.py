"""What lies in a scene: pixels of each class by block, and how full each possible window is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window

from pipelines.dataset.blocks import BlockGrid
from pipelines.dataset.regions import moved
from pipelines.labels import LabelSource
from pipelines.scenes.scene import Scene

UNLABELLED = 255
_STRIP = 512  # rows of a scene that are in memory at once


def origins(length: int, size: int, spacing: int) -> NDArray[np.int64]:
    """Possible first rows (or columns) of windows, four for each ``spacing``; windows end inside ``length``."""
    starts = np.arange(max(0, length - size) * 4 // spacing + 1) * spacing // 4
    return starts[starts + size <= length].astype(np.int64)


def take_census(
    scene: Scene, catalog: Path, source: LabelSource, grid: BlockGrid, classes: int, size: int, spacings: set[int]
) -> tuple[NDArray[np.int64], dict[int, NDArray[np.int32]]]:
    """One pass over labels and mask of ``scene``.

    Returns usable pixels ``(blocks, classes)``, and for each spacing the usable, labelled pixels ``(rows, columns)`` of
    the windows at ``origins``.
    """
    counts = np.zeros((len(grid), classes), np.int64)
    fill = {
        spacing: _Fill(origins(scene.height, size, spacing), origins(scene.width, size, spacing), size)
        for spacing in spacings
    }
    cells = _cells(scene, grid)
    for strip, labels in usable_labels(scene, catalog, source):
        known = labels != UNLABELLED
        block = _blocks_of(scene, strip, cells)[known]
        flat = np.bincount(block * classes + labels[known], minlength=len(grid) * classes)
        counts += flat.reshape(len(grid), classes)
        for each in fill.values():
            each.add(strip.row_off, known)
    return counts, {spacing: each.counts for spacing, each in fill.items()}


def usable_labels(scene: Scene, catalog: Path, source: LabelSource) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """Strips of the scene from top to bottom: labels ``(rows, width)``, 255 where masked or unlabelled."""
    with rasterio.open(scene.mask_path(catalog)) as mask:
        for top in range(0, scene.height, _STRIP):
            strip = Window(0, top, scene.width, min(_STRIP, scene.height - top))
            labels = source.burn(scene, strip)
            labels[mask.read(1, window=strip) != 0] = UNLABELLED
            yield strip, labels


class _Fill:
    """Sums over windows of a raster that comes in strips, without holding the raster."""

    def __init__(self, rows: NDArray[np.int64], columns: NDArray[np.int64], size: int) -> None:
        self._rows, self._columns, self._size = rows, columns, size
        self._above = np.zeros(len(columns), np.int64)
        self.counts = np.zeros((len(rows), len(columns)), np.int32)

    def add(self, top: int, known: NDArray[np.bool_]) -> None:
        along = np.zeros((known.shape[0], known.shape[1] + 1), np.int64)
        np.cumsum(known, axis=1, out=along[:, 1:])
        across = along[:, self._columns + self._size] - along[:, self._columns]
        down = np.vstack([self._above, self._above + np.cumsum(across, axis=0)])  # sums of all rows above top + i
        for edge, sign in ((self._rows, -1), (self._rows + self._size, 1)):
            here = np.flatnonzero((edge > top) & (edge <= top + known.shape[0]))
            self.counts[here] += (sign * down[edge[here] - top]).astype(np.int32)
        self._above = down[-1]


def _cells(scene: Scene, grid: BlockGrid) -> list[tuple[Any, int]]:
    """The grid's cells in the scene's CRS; none if there is one only."""
    if len(grid) == 1:
        return []
    side = shapely.segmentize(grid.polygons(), grid.side / 4)
    polygons = shapely.transform(side, lambda points: moved(points, grid.region.projection, scene.crs))
    return [(polygon, cell) for cell, polygon in enumerate(polygons) if np.isfinite(polygon.bounds).all()]


def _blocks_of(scene: Scene, strip: Window, cells: list[tuple[Any, int]]) -> NDArray[np.int64]:
    shape = (int(strip.height), int(strip.width))
    if not cells:
        return np.zeros(shape, np.int64)
    transform = scene.affine @ scene.affine.translation(strip.col_off, strip.row_off)
    return np.asarray(rasterize(cells, out_shape=shape, transform=transform, fill=0, dtype="int32"), np.int64)
