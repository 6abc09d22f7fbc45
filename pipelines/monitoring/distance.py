"""How far two samples of a feature lie apart, and how far apart scenes of one kind lie anyway.

The Hellinger distance of two distributions p and q over the same bins is ``sqrt(1 - sum(sqrt(p * q)))``: 0 when they
are equal, 1 when they share no bin. whylogs offers it over bins of equal width between the two extremes, so that one
saturated pixel stretches the bins until everything falls into one of them. The bins here are the reference's own
5 percent quantiles instead, read from whylogs' sketches, and a narrow one at either end: what lies beyond all that the
reference knows would otherwise look like its outermost twentieth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.monitoring.features import GROUND, Columns, watched
from pipelines.monitoring.whylogs_compat import DatasetProfileView

STEPS = np.concatenate([[0.005], np.linspace(0, 1, 21)[1:-1], [0.995]])
LEAST_SCENES = 3
"""Fewer scenes say nothing about how scenes differ among themselves."""
LEAST_PIXELS = 100
"""Of fewer pixels chance alone puts a histogram of ``STEPS`` a sixth away from what they were drawn from."""


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


def apart(scenes: Sequence[Columns]) -> dict[str, tuple[float, ...]]:
    """By feature, how far each scene lies from all the others of its group, where both show usable pixels.

    A later scene may show other ground than the reference, while its scenes show the same. So where ``GROUND`` tells
    blocks of it, one half of a scene's, every other one, is compared with the other half of the others', and the two
    distances are averaged. That is farther than blocks that differ by chance put whole scenes of two places, of twice
    as much ground each, and makes up for what all blocks of a place have in common. Empty where there are fewer than
    ``LEAST_SCENES``.
    """
    if len(scenes) < LEAST_SCENES:
        return {}
    names = [name for name in watched(scenes[0]) if all(name in scene for scene in scenes)]
    return {name: tuple(_apart([s[name] for s in scenes], [s.get(GROUND) for s in scenes])) for name in names}


def _apart(samples: Sequence[NDArray], grounds: Sequence[NDArray | None]) -> list[float]:
    parts = _counts(samples, grounds)
    pairs = [(own, parts.sum(axis=0) - own) for own in parts]
    return [_on_other_ground(own, rest) for own, rest in pairs if own.sum() and rest.sum()]


def _on_other_ground(own: NDArray, rest: NDArray) -> float:
    """Distance of a scene from others had it shown other ground; both as counts ``(halves, bins)`` of the same."""
    crossed = [_between(a, b) for a, b in zip(own, rest[::-1], strict=True) if min(a.sum(), b.sum()) >= LEAST_PIXELS]
    return float(np.mean(crossed)) if crossed else _between(own.sum(axis=0), rest.sum(axis=0))


def _between(ours: NDArray, theirs: NDArray) -> float:
    return hellinger(ours / ours.sum(), theirs / theirs.sum())


def _counts(samples: Sequence[NDArray], grounds: Sequence[NDArray | None]) -> NDArray:
    """Counts by bin of each half of the ground of each scene, ``(scenes, halves, bins)``; one half is all of it."""
    measured = [s.astype(str) if s.dtype == object else s for s in samples]
    kept = [np.ones(len(s), bool) if s.dtype.kind == "U" else np.isfinite(s) for s in measured]
    together = np.concatenate([s[k] for s, k in zip(measured, kept, strict=True)])
    edges = np.unique(together)[1:] if together.dtype.kind == "U" else np.unique(_quantiles(together))
    bins, split = len(edges) + 1, all(g is not None for g in grounds)
    parts = np.zeros((len(samples), 2 if split else 1, bins))
    for i, (sample, keep, ground) in enumerate(zip(measured, kept, grounds, strict=True)):
        codes = np.searchsorted(edges, sample[keep], side="right")
        half = ground[keep] % 2 if split and ground is not None else np.zeros(len(codes), np.int64)
        parts[i] = np.bincount(half * bins + codes, minlength=parts[i].size).reshape(parts[i].shape)
    return parts


def _quantiles(values: NDArray) -> NDArray:
    return np.quantile(values, STEPS) if len(values) else np.zeros(1)


def _size(feature: str, view: DatasetProfileView) -> int:
    column = view.get_column(feature)
    return 0 if column is None else int(column.get_metric("counts").n.value)


def _sketch(feature: str, view: DatasetProfileView):  # type: ignore[no-untyped-def]  # whylogs has no types
    return view.get_column(feature).get_metric("distribution").kll.value
