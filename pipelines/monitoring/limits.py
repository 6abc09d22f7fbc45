"""How far from its reference a scene may lie: as far as one more scene of the reference's kind would.

The logits of the squared distances among a reference's own scenes, which lie between 0 and 1, are taken as normal, with
a mean of each group's own and one deviation for all groups, since a group has few scenes; it is drawn towards that of
all features. The limit is the upper end of a prediction interval for one new scene (Student's t, so that few scenes
give wide limits), at a share of false alarms that all features share (Bonferroni).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from pipelines.monitoring.distance import LEAST_SCENES, STEPS

CEILING = 0.95
"""Values that all lie beyond the reference are at about 0.96; a limit above this could never be passed."""
PRIOR = 6
"""Scenes that the deviation typical of all features counts for, beside a feature's own."""
_NEAREST, _FARTHEST = 0.01, 0.99  # distances nearer than this are the sampling's


@dataclass(frozen=True)
class Usual:
    """Distances among scenes of one kind, as logits of their squares: mean, deviation, what these were learned from."""

    mean: float
    deviation: float
    scenes: int
    freedom: int

    def limit(self, false_alarms: float, pixels: int, clear: float) -> float:
        """The distance that a new scene of ``pixels`` passes with a probability of ``false_alarms``.

        Of its ground the share ``clear`` is seen. The less there is, the more chance decides what it shows: as
        variances of means do, squared distances grow with the inverse of the ground on either side, here ``clear``
        and all of the reference's.
        """
        quantile = float(stats.t.ppf(1 - false_alarms, self.freedom))
        reach = self.mean + quantile * self.deviation * (1 + 1 / self.scenes) ** 0.5
        drawn = len(STEPS) / 8 / max(pixels, 1)  # what sampling alone adds to a squared distance
        ground = (1 / max(clear, 0.1) + 1) / 2
        return float(min(np.sqrt(special.expit(reach) * ground + drawn), CEILING))


def shared_share(false_alarms: float, scenes: int) -> float:
    """The share of false alarms of one scene at which ``scenes`` of twice as many agree by chance in ``false_alarms``.

    The binomial's quantile, by the beta distribution. Scenes that agree may be judged more sharply than one alone.
    """
    return float(stats.beta.ppf(false_alarms, scenes, scenes + 1))


def usual_of(
    group: Mapping[str, Sequence[float]] | None, groups: Sequence[Mapping[str, Sequence[float]]]
) -> dict[str, Usual]:
    """What is usual in ``group``, one of ``groups``, by feature; in a group like them where it is ``None``.

    Holds the features that some group tells of with at least ``LEAST_SCENES`` scenes.
    """
    known: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for each in groups:
        for feature, distances in each.items():
            if len(distances) >= LEAST_SCENES:
                known[feature].append(_logits(distances))
    own = {f: _logits(d) for f, d in (group or {}).items() if len(d) >= LEAST_SCENES}
    plain = {feature: _usual(own.get(feature), logits) for feature, logits in sorted(known.items())}
    if not plain:
        return {}
    typical = float(np.median([one.deviation for one in plain.values()]))
    return {feature: _moderated(one, typical) for feature, one in plain.items()}


def _usual(own: NDArray[np.float64] | None, groups: Sequence[NDArray[np.float64]]) -> Usual:
    if own is None:
        together = np.concatenate(groups)
        return Usual(float(together.mean()), float(together.std(ddof=1)), len(together), len(together) - 1)
    freedom = sum(len(logits) - 1 for logits in groups)
    within = sum(((logits - logits.mean()) ** 2).sum() for logits in groups)
    return Usual(float(own.mean()), float(np.sqrt(within / freedom)), len(own), freedom)


def _moderated(one: Usual, typical: float) -> Usual:
    """A deviation from few scenes is drawn towards the ``typical`` one of all features (Smyth 2004)."""
    freedom = one.freedom + PRIOR
    variance = (one.freedom * one.deviation**2 + PRIOR * typical**2) / freedom
    return Usual(one.mean, float(np.sqrt(variance)), one.scenes, freedom)


def _logits(distances: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(special.logit(np.clip(np.asarray(distances, float), _NEAREST, _FARTHEST) ** 2), float)
