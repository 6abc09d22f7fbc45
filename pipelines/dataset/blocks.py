"""Squares of ground that go to train, val or test as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts load when they are first used, so stages that never do start faster
import shapely
from numpy.typing import NDArray

from pipelines.config.params import Split
from pipelines.dataset.regions import Region

SPLITS = ("train", "val", "test")
NOBODYS = len(SPLITS)  # stands beside indices into SPLITS: ground of no split
SLIVER = 0.01  # of a block; shared ground below it comes of borders that are straight on one map and bent on another
_ORDERS = 64


@dataclass(frozen=True)
class BlockGrid:
    """A square grid in a region's projection; it covers the whole of the region.

    Cells are numbered row by row from the lower left. A region smaller than a block is one block.
    """

    region: Region
    side: float  # metres
    left: float  # of the column and the row that names number 0
    bottom: float
    columns: int
    rows: int
    column: int = 0  # the first one, as names number it; negative where the region grew beyond an earlier dataset's
    row: int = 0

    @classmethod
    def over(cls, region: Region, side: float) -> BlockGrid:
        """Centred on the region."""
        west, south, east, north = region.footprint.bounds
        columns = max(1, math.ceil((east - west) / side - 1e-6))
        rows = max(1, math.ceil((north - south) / side - 1e-6))
        left, bottom = (west + east - columns * side) / 2, (south + north - rows * side) / 2
        return cls(region, side, left, bottom, columns, rows)

    @classmethod
    def aligned(cls, region: Region, side: float, left: float, bottom: float) -> BlockGrid:
        """As many whole cells as the region needs of the grid on which ``(left, bottom)`` is a corner."""
        west, south, east, north = region.footprint.bounds
        column, row = (math.floor(d / side + 1e-6) for d in (west - left, south - bottom))
        columns, rows = (math.ceil(d / side - 1e-6) for d in (east - left, north - bottom))
        return cls(region, side, left, bottom, max(1, columns - column), max(1, rows - row), column, row)

    def __len__(self) -> int:
        return self.rows * self.columns

    def cell(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Cell numbers ``(n,)`` of points ``(n, 2)`` in the region's projection."""
        column = (np.floor((points[:, 0] - self.left) / self.side) - self.column).clip(0, self.columns - 1)
        row = (np.floor((points[:, 1] - self.bottom) / self.side) - self.row).clip(0, self.rows - 1)
        return np.asarray(row * self.columns + column, np.int64)

    def near(self, west: float, south: float, east: float, north: float) -> NDArray[np.int64]:
        """Numbers, ascending, of the cells that a box in the region's projection meets, and of those around them."""
        corners = np.array([(west - self.side, south - self.side), (east + self.side, north + self.side)])
        (bottom, top), (left, right) = np.divmod(self.cell(corners), self.columns)
        rows, columns = np.arange(bottom, top + 1), np.arange(left, right + 1)
        return np.asarray((rows[:, None] * self.columns + columns).ravel(), np.int64)

    def polygons(self, cells: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """``cells``, or all there are, as shapely boxes in the region's projection."""
        row, column = np.divmod(np.arange(len(self)) if cells is None else cells, self.columns)
        west, south = self.left + (column + self.column) * self.side, self.bottom + (row + self.row) * self.side
        return np.asarray(shapely.box(west, south, west + self.side, south + self.side))

    def name(self, cell: int) -> str:
        row, column = divmod(cell, self.columns)
        return f"{self.region.id}_{row + self.row:03d}_{column + self.column:03d}"

    def filled(self, splits: dict[int, int]) -> NDArray[np.int64]:
        """A split for every cell: those without data take that of the nearest cell with data."""
        known = np.array(sorted(splits))
        row, column = np.divmod(np.arange(len(self)), self.columns)
        centres = np.column_stack([row, column])
        _, nearest = scipy.spatial.cKDTree(centres[known]).query(centres)
        return np.array([splits[int(known[n])] for n in nearest], np.int64)


def ways(counts: NDArray[np.int64], split: Split, kept: NDArray[np.int64] | None = None) -> list[NDArray[np.int64]]:
    """Ways to give each block a split (index into ``SPLITS``), best first, by its pixels ``(blocks, classes)``.

    ``kept`` ``(blocks,)`` holds the splits that are settled already, -1 for blocks that are free.

    With ``split.folds`` the blocks are divided into that many folds first, the same for each ``split.fold``, so that
    every block is tested once over all folds; train and val share the rest.
    """
    shares = np.array([split.fractions.train, split.fractions.val, split.fractions.test])
    if split.folds is None:
        return assignments(counts, shares, split.seed, kept)
    folds = assignments(counts, np.full(split.folds, 1 / split.folds), split.seed)[0]
    rest = folds != split.fold
    shares[SPLITS.index("test")] = 0
    found = []
    for of_rest in assignments(counts[rest], shares / shares.sum(), split.seed):
        splits = np.full(len(counts), SPLITS.index("test"), np.int64)
        splits[rest] = of_rest
        found.append(splits)
    return found


def assignments(
    counts: NDArray[np.int64], shares: NDArray[np.float64], seed: int, kept: NDArray[np.int64] | None = None
) -> list[NDArray[np.int64]]:
    """Ways to divide blocks into as many parts as there are ``shares``, best first, by their pixels of each class.

    Iterative stratification after Sechidis, Tsoumakas and Vlahavas (2011, "On the stratification of multi-label data"),
    with pixel counts ``(blocks, classes)`` in place of examples: the class with fewest pixels left goes first, and
    each of its blocks goes to the split that still wants most of that class; the last ones go to splits that have none
    of it yet. Of several seeded orders those are best that leave fewest classes without a split, and then those nearest
    to ``shares``. Blocks with a part in ``kept`` have it in all of them, and count towards the shares.
    """
    random = np.random.default_rng(seed)
    kept = np.full(len(counts), -1, np.int64) if kept is None else kept
    orders = (random.permutation(len(counts)) for _ in range(_ORDERS))
    found = {tuple(s): s for s in (_stratify(counts, shares, order, kept) for order in orders)}
    return sorted(found.values(), key=lambda splits: _badness(counts, splits, shares))


def _stratify(
    counts: NDArray[np.int64], shares: NDArray[np.float64], order: NDArray[np.int64], kept: NDArray[np.int64]
) -> NDArray[np.int64]:
    wanted = shares[:, None] * counts.sum(axis=0)  # (splits, classes)
    np.subtract.at(wanted, kept[kept >= 0], counts[kept >= 0])
    splits = kept.copy()
    left = counts[kept < 0].sum(axis=0).astype(float)
    asked = np.flatnonzero(shares > 0).tolist()
    while (open_classes := np.flatnonzero(left > 0)).size:
        rarest = open_classes[np.argmin(left[open_classes])]
        has = counts[:, rarest] > 0
        waiting = order[(splits[order] < 0) & has[order]]
        met = {s: bool(has[splits == s].any()) for s in asked}
        for i, block in enumerate(waiting):
            without = [s for s in asked if not met[s]]
            choice = (
                without if len(without) >= len(waiting) - i else asked
            )  # the last blocks go where the class is missing
            split = max(choice, key=lambda s: (wanted[s, rarest], wanted[s].sum(), -s))
            splits[block], met[split] = split, True
            wanted[split] -= counts[block]
            left -= counts[block]
        left[rarest] = 0
    splits[splits < 0] = 0
    return splits


def _badness(counts: NDArray[np.int64], splits: NDArray[np.int64], shares: NDArray[np.float64]) -> tuple[float, ...]:
    got = np.array([counts[splits == s].sum(axis=0) for s in range(len(shares))])
    asked = shares > 0
    empty = int((got[asked].sum(axis=1) == 0).sum())
    absent = int((got[asked][:, counts.sum(axis=0) > 0] == 0).sum())
    total = np.maximum(counts.sum(axis=0), 1)
    far = np.abs(got / total - shares[:, None])[:, counts.sum(axis=0) > 0]
    return empty, absent, round(float(far.mean()), 9)
