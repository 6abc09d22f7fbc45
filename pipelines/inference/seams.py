"""Whether a map shows the windows that it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.windows import Window

from pipelines.inference.layers import NODATA
from pipelines.inference.windows import Axis

_ROWS = 512


class SeamScore(BaseModel):
    """Class changes across the edges of windows, a pair of pixels, over those elsewhere: 1 where no seam shows.

    ``error`` is the standard error of ``score`` if edges were lines like any other, so a map with a score within two
    errors of 1 shows none. Both are ``None`` where a map has no inner edge, or no class change off the edges.
    """

    model_config = ConfigDict(frozen=True)

    score: float | None
    error: float | None


def seam_score(classes: Path, down: Axis, across: Axis) -> SeamScore:
    """Of a class map made in windows along ``down`` (rows) and ``across`` (columns); in bounded memory."""
    with rasterio.open(classes) as source:
        height, width = source.shape
        changes = [np.zeros(height - 1, np.int64), np.zeros(width - 1, np.int64)]
        pairs = [np.zeros(height - 1, np.int64), np.zeros(width - 1, np.int64)]
        for top in range(0, height, _ROWS):
            rows = min(_ROWS + 1, height - top)  # one row of the next strip, for the pair across the border
            strip = source.read(1, window=Window(0, top, width, rows))
            within, differ = _compared(strip[:-1], strip[1:])
            pairs[0][top : top + rows - 1] = within.sum(axis=1)
            changes[0][top : top + rows - 1] = differ.sum(axis=1)
            within, differ = _compared(strip[:_ROWS, :-1], strip[:_ROWS, 1:])
            pairs[1] += within.sum(axis=0)
            changes[1] += differ.sum(axis=0)
    lines = [_edges(axis) for axis in (down, across)]
    return _score(changes, pairs, lines)


def _edges(axis: Axis) -> NDArray[np.bool_]:
    """For each pair of neighbours ``(i, i + 1)`` along the axis, whether a window begins or ends between them."""
    edges = np.zeros(axis.length - 1, bool)
    for start in axis.starts:
        for first in (start, start + axis.window):
            if 0 < first < axis.length:
                edges[first - 1] = True
    return edges


def _compared(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    both = (one != NODATA) & (other != NODATA)
    return both, both & (one != other)


def _score(
    changes: Sequence[NDArray[np.int64]], pairs: Sequence[NDArray[np.int64]], lines: Sequence[NDArray[np.bool_]]
) -> SeamScore:
    all_changes, all_pairs = np.concatenate(changes), np.concatenate(pairs)
    used = all_pairs > 0
    edge, elsewhere = np.concatenate(lines) & used, ~np.concatenate(lines) & used
    if not edge.any() or not all_changes[elsewhere].any():
        return SeamScore(score=None, error=None)
    usual = all_changes[elsewhere].sum() / all_pairs[elsewhere].sum()
    score = all_changes[edge].sum() / all_pairs[edge].sum() / usual
    # A line's own spread, as ordinary lines have it: changes cluster along them far more than single pairs would.
    rates = all_changes[elsewhere] / all_pairs[elsewhere] / usual
    error = float(np.std(rates)) / np.sqrt(edge.sum())
    return SeamScore(score=round(float(score), 4), error=round(float(error), 4))
