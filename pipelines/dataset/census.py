"""What lies in a scene: pixels of each class by block, and how full each possible window is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.windows import Window

from pipelines.config.params import Chips
from pipelines.dataset.blocks import BlockGrid
from pipelines.dataset.regions import moved, outline_of
from pipelines.labels import LabelSource
from pipelines.scenes.scene import Scene

UNLABELLED = 255
_STRIP = 512  # rows of a scene that are in memory at once


def origins(length: int, size: int, spacing: int) -> NDArray[np.int64]:
    """Possible first rows (or columns) of windows, four for each ``spacing``; windows end inside ``length``."""
    starts = np.arange(max(0, length - size) * 4 // spacing + 1) * spacing // 4
    return starts[starts + size <= length].astype(np.int64)


def take_census(
    scene: Scene, catalog: Path, source: LabelSource, grid: BlockGrid, classes: int, chips: Chips, spacings: set[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[int, NDArray[np.bool_]]]:
    """One pass over labels and mask of ``scene``.

    Returns the cells of ``grid`` near the scene ``(n,)``, their usable pixels ``(n, classes)``, and for each spacing
    whether the windows at ``origins`` ``(rows, columns)`` have the ``chips.min_valid`` usable, labelled pixels that a
    chip needs: an answer a window, since those of all scenes are held.
    """
    size = chips.size
    near = grid.near(*_bounds(outline_of(scene, grid.region.projection)))
    counts = np.zeros((len(near), classes), np.int64)
    fill = {
        spacing: _Fill(origins(scene.height, size, spacing), origins(scene.width, size, spacing), size)
        for spacing in spacings
    }
    cells = _cells(scene, grid, near)
    for strip, labels in usable_labels(scene, catalog, source):
        known = labels != UNLABELLED
        block = _blocks_of(scene, strip, cells)[known]
        flat = np.bincount(block * classes + labels[known], minlength=counts.size)
        counts += flat.reshape(counts.shape)
        for each in fill.values():
            each.add(strip.row_off, known)
    enough = max(1, chips.min_valid * size**2)
    return near, counts, {spacing: each.counts >= enough for spacing, each in fill.items()}


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


def _bounds(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    (west, south), (east, north) = points.min(axis=0), points.max(axis=0)
    return west, south, east, north


def _cells(scene: Scene, grid: BlockGrid, near: NDArray[np.int64]) -> list[tuple[Any, int]]:
    """The cells ``near`` in the scene's CRS, each with its place in ``near``; none if there is one only."""
    if len(near) == 1:
        return []
    side = shapely.segmentize(grid.polygons(near), grid.side / 4)
    polygons = shapely.transform(side, lambda points: _turned(moved(points, grid.region.projection, scene.crs), scene))
    return [(polygon, i) for i, polygon in enumerate(polygons) if np.isfinite(polygon.bounds).all()]


def _turned(points: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
    """Points ``(n, 2)`` of its CRS as the scene's grid counts them, which in degrees may go on beyond 180."""
    if CRS.from_user_input(scene.crs).is_geographic:
        centre = (scene.affine @ (scene.width / 2, scene.height / 2))[0]
        points[:, 0] -= 360 * np.round((points[:, 0] - centre) / 360)
    return points


def _blocks_of(scene: Scene, strip: Window, cells: list[tuple[Any, int]]) -> NDArray[np.int64]:
    shape = (int(strip.height), int(strip.width))
    if not cells:
        return np.zeros(shape, np.int64)
    transform = scene.affine @ scene.affine.translation(strip.col_off, strip.row_off)
    return np.asarray(rasterize(cells, out_shape=shape, transform=transform, fill=0, dtype="int32"), np.int64)
