"""Which windows of a scene become chips, and of which split."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.config.params import Chips
from pipelines.dataset.blocks import NOBODYS, SPLITS, BlockGrid
from pipelines.dataset.census import origins
from pipelines.scenes.scene import Scene

_PART = 16_384  # windows whose polygons are held at once; a large scene has a hundred times as many
_TOUCH = 0.001  # metres; with a buffer of 0, chips stay this far from blocks of other splits


def spacings(chips: Chips) -> tuple[int, int, int]:
    """Pixels between windows of train, val and test; those of val and test do not overlap."""
    return (chips.stride, chips.size, chips.size)


class Territories:
    """The ground of each split in one region, and that of none (``NOBODYS``).

    A window belongs to split S if it lies at least half the buffer away from every block of another split. Then
    windows A of S and B of T are at least the buffer apart: the grid is a convex rectangle all of whose cells have a
    split, so the straight way from a point of A to a point of B stays in it. It leaves the ground of S for the
    first time at a point p that borders on a block of another split than S, which is half the buffer or more from
    A, and it enters the ground of T for the last time at a point q, which is half the buffer or more from B; p comes
    no later than q. (On the map; on the ground distances are shorter by at most ``Region.stretch``, so half the
    buffer is lengthened by that.)
    """

    def __init__(self, grid: BlockGrid, blocks: dict[int, int], buffer: float) -> None:
        """``blocks`` are the splits of the cells with labels; the others take part as ``BlockGrid.filled`` says, and a
        window that is centred on one of these is of no split, for no block would tell of it."""
        self._grid, splits = grid, grid.filled(blocks)
        self._splits = np.full(len(grid), -1, np.int64)
        self._splits[list(blocks)] = list(blocks.values())
        self._away = max(buffer / 2 * grid.region.stretch, _TOUCH)
        cells = grid.polygons()
        self._others = [shapely.union_all(cells[splits != s]) for s in range(len(SPLITS))]
        for other in self._others:
            shapely.prepare(other)

    def splits_of(self, windows: NDArray[Any], centres: NDArray[np.float64]) -> NDArray[np.int64]:
        """The split of each window (shapely polygons in the region's projection); -1 on and too near other ground."""
        split = self._splits[self._grid.cell(centres)]
        split[split == NOBODYS] = -1
        for s, other in enumerate(self._others):
            mine = np.flatnonzero(split == s)
            if mine.size and not other.is_empty:
                split[mine[shapely.dwithin(other, windows[mine], self._away)]] = -1
        return split


def choose_windows(
    scene: Scene, grid: BlockGrid, territories: Territories, filled: dict[int, NDArray[np.bool_]], chips: Chips
) -> list[tuple[int, int, int, Any]]:
    """Windows of ``scene`` as (split, row, column, polygon in the region's projection), in the order of rows, columns.

    Those come into question that are ``filled``, by the census. Windows of one split are taken from top to bottom and
    left to right, each as soon as it keeps its distance from those taken before.
    """
    chosen: list[tuple[int, int, int]] = []
    for spacing in sorted(filled):
        full = np.argwhere(filled[spacing])
        if not len(full):
            continue
        first = origins(scene.height, chips.size, spacing), origins(scene.width, chips.size, spacing)
        rows, columns = first[0][full[:, 0]], first[1][full[:, 1]]
        parts = range(_PART, len(full), _PART)
        ground = zip(np.split(rows, parts), np.split(columns, parts), strict=True)
        split = np.concatenate([territories.splits_of(*footprints(scene, grid, *at, chips.size)) for at in ground])
        for s in range(len(SPLITS)):
            if spacings(chips)[s] != spacing:
                continue
            taken = np.zeros((len(first[0]) + 4, len(first[1]) + 4), bool)  # in quarters of the spacing
            for i in np.flatnonzero(split == s):
                r, c = full[i]
                if not taken[r, c] and not taken[r, c + 3]:
                    taken[r : r + 4, c : c + 4] = True
                    chosen.append((s, int(rows[i]), int(columns[i])))
    if not chosen:
        return []
    splits, rows, columns = np.array(sorted(chosen)).T
    windows, _ = footprints(scene, grid, rows, columns, chips.size)
    return list(zip(splits.tolist(), rows.tolist(), columns.tolist(), windows, strict=True))


def footprints(
    scene: Scene, grid: BlockGrid, rows: NDArray[np.int64], columns: NDArray[np.int64], size: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Polygons ``(n,)`` and centres ``(n, 2)`` in the region's projection of windows of a scene."""
    corners = [(0, 0), (0, size), (size, size), (size, 0), (size / 2, size / 2)]
    points = [
        grid.region.outline(scene, np.asarray(rows + r, np.float64), np.asarray(columns + c, np.float64))
        for r, c in corners
    ]
    return np.asarray(shapely.polygons(np.stack(points[:4], axis=1))), points[4]
