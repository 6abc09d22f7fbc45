"""Limits hold the share of false alarms that they are asked for, on distances of known distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from pipelines.monitoring.limits import CEILING, shared_share, usual_of

PIXELS, CLEAR = 10**9, 1.0
FEATURES = 10


def distances(rng: np.random.Generator, count: int, mean: float = -2.0) -> np.ndarray:
    return np.sqrt(special.expit(rng.normal(mean, 0.8, count)))


def beyond(rng: np.random.Generator, scenes: int, share: float) -> bool:
    """Whether a new scene of one kind lies beyond the limit that ``scenes`` of its kind give."""
    reference = {f"band.{i}": tuple(distances(rng, scenes)) for i in range(FEATURES)}
    limit = usual_of(reference, [reference])["band.0"].limit(share, PIXELS, CLEAR)
    return bool(distances(rng, 1)[0] > limit)


@pytest.mark.parametrize("scenes", [4, 30])
def test_as_many_usual_scenes_pass_a_limit_as_were_asked_for(scenes: int):
    rng = np.random.default_rng(0)
    passed = sum(beyond(rng, scenes, 0.05) for _ in range(1500))
    assert stats.binomtest(passed, 1500).proportion_ci(0.999).low <= 0.05
    assert passed / 1500 >= 0.02  # a limit that nothing passes would find nothing


@pytest.mark.parametrize("scenes", [1, 2, 5])
def test_scenes_that_agree_are_judged_as_sharply_as_chance_allows(scenes: int):
    share = shared_share(0.05, scenes)
    assert stats.binom.sf(scenes - 1, 2 * scenes, share) == pytest.approx(0.05)


def test_a_group_of_few_scenes_borrows_from_the_others_and_less_ground_widens_its_limit():
    rng = np.random.default_rng(1)
    groups = [{"band.0": tuple(distances(rng, 4, mean))} for mean in (-4, -2)]
    near, far = (usual_of(group, groups)["band.0"] for group in groups)
    assert near.limit(0.01, PIXELS, CLEAR) < far.limit(0.01, PIXELS, CLEAR) < CEILING
    assert near.limit(0.01, PIXELS, CLEAR) < near.limit(0.01, PIXELS, 0.3)
    assert near.limit(0.01, 1000, CLEAR) > near.limit(0.01, PIXELS, CLEAR)


def test_groups_of_two_scenes_tell_nothing():
    assert usual_of({"band.0": (0.1, 0.2)}, [{"band.0": (0.1, 0.2)}]) == {}
