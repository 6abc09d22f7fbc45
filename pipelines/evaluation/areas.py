"""Areas of classes from a map and what its test says of its errors.

Counting a map's pixels is biased: a class that is often taken for another is shown too small. The estimator weighs the
test's errors by what is mapped. Source: Olofsson et al. 2014, "Good practices for estimating area and assessing
accuracy of land change", Remote Sensing of Environment 148, equations 9 to 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import Evaluate
from pipelines.errors import BadData
from pipelines.evaluation.bootstrap import Interval, interval

_LEAST = 3  # blocks that a class is on the map of


def shares(
    counts: NDArray[np.integer], mapped: NDArray[np.float64], whole: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """True share of each class ``(..., classes)`` in ground that is mapped as ``mapped`` ``(classes,)``.

    ``counts`` ``(..., classes, classes)`` are confusion counts, rows the truth and columns the map. Where they
    have nothing of a mapped class, what it really is comes from ``whole``, ``(classes, classes)``; NaN if unknown.
    """
    weights = mapped / mapped.sum()
    tested = counts.sum(axis=-2, keepdims=True)  # of each mapped class
    if whole is not None:
        counts, tested = (
            np.where(tested > 0, part, other) for part, other in ((counts, whole), (tested, whole.sum(axis=0)))
        )
    with np.errstate(invalid="ignore"):
        truly = np.where(weights > 0, counts / tested, 0.0)
    found: NDArray[np.float64] = (truly * weights).sum(axis=-1)
    return found


def standard_errors(counts: NDArray[np.integer], mapped: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of ``shares`` where each count is a sample drawn by itself, as points are; pixels of a block are not."""
    weights = mapped / mapped.sum()
    tested = counts.sum(axis=0)
    truly = counts / tested
    found: NDArray[np.float64] = np.sqrt((weights**2 * truly * (1 - truly) / (tested - 1)).sum(axis=1))
    return found


def areas(
    blocks: NDArray[np.integer], mapped: NDArray[np.float64], names: Sequence[str], settings: Evaluate
) -> dict[str, Any]:
    """Mapped and estimated area of each class, in the unit of ``mapped``, with block-bootstrap intervals.

    How what is really there varies, where a class is mapped that fewer than three blocks have tested, is not known: an
    interval reaches from none of it to all of it.

    ``blocks`` are confusion counts ``(blocks, classes, classes)`` of the test. Raises ``BadData`` for a class that is
    mapped and never occurs in the test's map, and where nothing is mapped.
    """
    if not mapped.any():
        raise BadData("The maps show no class anywhere, only ground without data or under cloud; give others.")
    total, whole = float(mapped.sum()), blocks.sum(axis=0)
    seen = whole.sum(axis=0)
    if untested := [name for name, area, pixels in zip(names, mapped, seen, strict=True) if area and not pixels]:
        raise BadData(
            f"{', '.join(untested)} is on the map but never on the map of the test ground, so nothing is known of its "
            "errors; enlarge the test split."
        )
    having = (blocks.sum(axis=1) > 0).sum(axis=0)  # in how many blocks each class is on the map
    lone = (having < _LEAST) & (mapped > 0)
    known, unsure = np.where(lone, 0, mapped), float(mapped[lone].sum())
    values = shares(whole, mapped) * total
    if not known.any():
        ends = [Interval(value=None, low=None, high=None) for _ in names]
    else:
        ends = interval(
            blocks.astype(np.int64),
            lambda counts: shares(counts, known, whole) * known.sum() / total,
            resamples=settings.bootstrap,
            confidence=settings.confidence,
        )
    return {
        name: {
            "mapped": float(area),
            "value": float(value),
            "low": None if end.low is None else end.low * total,
            "high": None if end.high is None else min(end.high * total + unsure, total),
        }
        for name, area, value, end in zip(names, mapped, values, ends, strict=True)
    }
