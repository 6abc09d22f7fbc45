"""How far two samples of a feature lie apart, and how far apart scenes of one kind lie anyway.

The Hellinger distance of two distributions p and q over the same bins is ``sqrt(1 - sum(sqrt(p * q)))``: 0 when they
are equal, 1 when they share no bin. whylogs offers it over bins of equal width between the two extremes, so that one
saturated pixel stretches the bins until everything falls into one of them. The bins here are the reference's own
5 percent quantiles instead, read from whylogs' sketches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.monitoring.features import Columns, watched
from pipelines.monitoring.whylogs_compat import DatasetProfileView

STEPS = np.linspace(0, 1, 21)[1:-1]
LEAST_SCENES = 3
"""Fewer scenes say nothing about how scenes differ among themselves."""


def hellinger(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Distance of two distributions ``(bins,)``, each adding up to 1 (Hellinger 1909)."""
    return float(np.sqrt(np.clip(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2, 0, 1)))


def distance(feature: str, target: DatasetProfileView, reference: DatasetProfileView) -> float | None:
    """Hellinger distance of a feature between two profiles, or ``None`` where one of them lacks it."""
    if _size(feature, target) == 0 or _size(feature, reference) == 0:
        return None
    if is_category(feature, reference):
        ours, theirs = shares(feature, target), shares(feature, reference)
        names = sorted(ours.keys() | theirs.keys())
        return hellinger(np.array([ours.get(n, 0) for n in names]), np.array([theirs.get(n, 0) for n in names]))
    edges = np.unique(_sketch(feature, reference).get_quantiles(STEPS.tolist()))
    return hellinger(histogram(feature, target, edges), histogram(feature, reference, edges))


def cross_distance(ours: str, target: DatasetProfileView, theirs: str, reference: DatasetProfileView) -> float:
    """Distance of one feature of ``target`` to another one of ``reference``: small when the two were exchanged."""
    edges = np.unique(_sketch(theirs, reference).get_quantiles(STEPS.tolist()))
    return hellinger(histogram(ours, target, edges), histogram(theirs, reference, edges))


def histogram(feature: str, view: DatasetProfileView, edges: Sequence[float] | NDArray) -> NDArray[np.float64]:
    """Shares ``(len(edges) + 1,)`` of values below, between and above ascending ``edges``."""
    return np.asarray(_sketch(feature, view).get_pmf(np.asarray(edges, float).tolist()), float)


def quantile(feature: str, view: DatasetProfileView, at: float) -> float:
    return float(_sketch(feature, view).get_quantile(at))


def shares(feature: str, view: DatasetProfileView) -> dict[str, float]:
    """Share of each category of a feature."""
    items = view.get_column(feature).get_metric("frequent_items").strings
    total = sum(item.est for item in items)
    return {item.value: item.est / total for item in items}


def is_category(feature: str, view: DatasetProfileView) -> bool:
    return int(view.get_column(feature).get_metric("types").string.value) > 0


def spread(scenes: Sequence[Columns]) -> dict[str, float]:
    """By feature, how far a scene lies from all the others of its group: the 95th percentile over the scenes.

    Empty where there are fewer than ``LEAST_SCENES``. A new scene at this distance is nothing unusual.
    """
    if len(scenes) < LEAST_SCENES:
        return {}
    return {feature: _spread([scene[feature] for scene in scenes]) for feature in watched(scenes[0])}


def _spread(samples: Sequence[NDArray]) -> float:
    together = np.concatenate(samples)
    if together.dtype == object:
        edges = np.unique(together.astype(str))[1:]
        codes = [np.searchsorted(edges, sample.astype(str), side="right") for sample in samples]
    else:
        edges = np.unique(np.quantile(together, STEPS))
        codes = [np.searchsorted(edges, sample, side="right") for sample in samples]
    counts = np.stack([np.bincount(code, minlength=len(edges) + 1) for code in codes]).astype(float)
    rest = counts.sum(axis=0) - counts
    apart = [hellinger(c / c.sum(), r / r.sum()) for c, r in zip(counts, rest, strict=True) if c.sum() and r.sum()]
    return float(np.quantile(apart, 0.95)) if apart else 0.0


def _size(feature: str, view: DatasetProfileView) -> int:
    column = view.get_column(feature)
    return 0 if column is None else int(column.get_metric("counts").n.value)


def _sketch(feature: str, view: DatasetProfileView):  # type: ignore[no-untyped-def]  # whylogs has no types
    return view.get_column(feature).get_metric("distribution").kll.value
