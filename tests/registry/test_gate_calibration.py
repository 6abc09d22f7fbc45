"""The gate's error rates on simulated models of known quality; `benchmarks/gate.py` gives them for more sizes."""

from __future__ import annotations

import pytest

from benchmarks.gate import GAIN, World, promoted

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("blocks", [3, 5, 11])
@pytest.mark.parametrize("place", ["amazon-forest", "sample"])
def test_a_challenger_that_is_no_better_is_seldom_promoted_however_few_blocks_there_are(place, blocks):
    assert promoted(World.fitted(place, apart=0.33), blocks, better=0.0, trials=200) <= 0.05 + 0.02  # of 200 trials


def test_a_challenger_that_is_two_points_better_is_nearly_always_promoted_on_forty_blocks():
    world = World.fitted("sample", apart=0.33)
    assert promoted(world, 40, world.better_for(GAIN), trials=100) >= 0.9 - 0.06  # of 100 trials
