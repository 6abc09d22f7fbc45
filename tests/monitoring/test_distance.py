"""How far apart scenes lie anyway, on ground whose variation is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.monitoring.distance import STEPS, apart, hellinger
from pipelines.monitoring.features import GROUND

SCENES, BLOCKS, PIXELS = 6, 12, 600  # pixels of a block


def place(rng: np.random.Generator, varied: float) -> NDArray[np.float64]:
    """How bright each block of a place is; its blocks have something in common."""
    return rng.normal(0, varied / 4) + rng.normal(0, varied, BLOCKS)


def taken(rng: np.random.Generator, ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """A scene of it: light differs from date to date."""
    return np.repeat(ground, PIXELS) + rng.normal(0, 0.1) + rng.normal(0, 1, BLOCKS * PIXELS)


def shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) / len(values)


@pytest.mark.parametrize("varied", [0.0, 0.7, 1.5])
def test_scenes_of_a_place_tell_how_far_those_of_another_one_lie(varied: float):
    rng = np.random.default_rng(3)
    halves = np.repeat(np.arange(BLOCKS, dtype=np.uint8) % 2, PIXELS)
    foretold, found, without = [], [], []
    for _ in range(100):
        ground = place(rng, varied)
        scenes = [taken(rng, ground) for _ in range(SCENES)]
        foretold += apart([{"band.red": scene, GROUND: halves} for scene in scenes])["band.red"]
        without += apart([{"band.red": scene} for scene in scenes])["band.red"]
        known = np.concatenate(scenes)
        edges = np.quantile(known, STEPS)
        later = taken(rng, place(rng, varied))
        found.append(hellinger(shares(later, edges), shares(known, edges)))
    assert 0.8 < np.mean(np.square(foretold)) / np.mean(np.square(found)) < 1.6
    if varied:
        assert np.mean(np.square(without)) < np.mean(np.square(found)) / 3


def test_ground_of_one_half_is_compared_as_a_whole():
    rng = np.random.default_rng(4)
    scenes = [rng.normal(0.1 * i, 1, 500) for i in range(SCENES)]
    one = np.zeros(500, np.uint8)
    split, plain = (
        apart(columns)
        for columns in ([{"band.red": s, GROUND: one} for s in scenes], [{"band.red": s} for s in scenes])
    )
    assert split == plain and len(split["band.red"]) == SCENES
