"""Percentile intervals by resampling blocks of ground (Efron & Tibshirani 1993, ch. 13).

Pixels of one block resemble each other, so the block is what is drawn again, with all its scenes and dates together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import stats

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]


class Interval(BaseModel):
    """An estimate and the ends of its interval; ``None`` where it cannot be computed."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None


def resampled(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Sums ``(resamples, ...)`` of counts ``(blocks, ...)`` over as many blocks, drawn with replacement.

    Equal ``seed`` and number of blocks draw the same blocks, which is what pairs two models.
    """
    blocks = len(counts)
    draws = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples)
    return np.tensordot(draws, counts, axes=1)


def interval(
    counts: NDArray[np.int64], statistic: Statistic, *, resamples: int, confidence: float, seed: int = 0
) -> list[Interval]:
    """Intervals of ``statistic`` of summed counts ``(blocks, ...)``, one for each number that it returns.

    ``statistic`` takes ``(..., classes, classes)`` and returns ``(...)`` or ``(..., n)``. NaN draws, those without a
    pixel of the class, are left out.
    """
    value = np.atleast_1d(statistic(counts.sum(axis=0)))
    drawn = statistic(resampled(counts, resamples, seed)).reshape(resamples, -1)
    return [_percentiles(v, d, confidence) for v, d in zip(value, drawn.T, strict=True)]


def paired_gain(
    challenger: NDArray[np.int64],
    champion: NDArray[np.int64],
    statistic: Statistic,
    *,
    resamples: int,
    confidence: float,
    seed: int = 0,
) -> Interval:
    """Interval of the challenger's ``statistic`` minus the champion's, on the same draws of the same blocks.

    Both counts are ``(blocks, classes, classes)`` in the same order of blocks. Percentiles of few blocks are too close
    together, so the interval reaches at least as far as Student's around the jackknife's error (Efron & Tibshirani
    1993, ch. 11); `benchmarks/gate.py` shows what that is for. Its ends are ``None`` where all that ``statistic`` tells
    comes from one block. Blocks with a statistic of their own count as evidence: ground without objects, where the two
    may have invented some, weighs in the gain but makes it no surer, and blocks without any count are as if not there.
    """
    if challenger.shape != champion.shape:
        raise ValueError(f"paired counts differ in shape: {challenger.shape} and {champion.shape}")
    counted = np.logical_or(challenger, champion).any(axis=(1, 2))
    challenger, champion = challenger[counted], champion[counted]
    telling = int(np.isfinite(statistic(challenger)).sum())
    value = float(statistic(challenger.sum(axis=0)) - statistic(champion.sum(axis=0)))
    drawn = statistic(resampled(challenger, resamples, seed)) - statistic(resampled(champion, resamples, seed))
    found = _percentiles(value, drawn, confidence)
    if found.low is None or found.high is None:
        return found
    if telling < 2:
        return Interval(value=value, low=None, high=None)
    reach = _jackknife(challenger, champion, statistic) * stats.t.ppf((1 + confidence) / 2, telling - 1)
    return Interval(value=value, low=min(found.low, value - reach), high=max(found.high, value + reach))


def _jackknife(challenger: NDArray[np.int64], champion: NDArray[np.int64], statistic: Statistic) -> float:
    """Standard error of the difference, by leaving out one block at a time."""
    left = statistic(challenger.sum(axis=0) - challenger) - statistic(champion.sum(axis=0) - champion)
    return float(np.sqrt((len(left) - 1) * left.var()))


def _percentiles(value: float, drawn: NDArray[np.float64], confidence: float) -> Interval:
    finite = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not finite.size:
        return Interval(value=None, low=None, high=None)
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=float(value), low=float(low), high=float(high))
