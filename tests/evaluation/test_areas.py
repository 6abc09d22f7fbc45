"""Areas that a map's errors have been taken out of."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.config.params import Evaluate
from pipelines.errors import BadData
from pipelines.evaluation.areas import areas, shares, standard_errors

SETTINGS = Evaluate(bootstrap=400, confidence=0.95)


def test_the_example_of_the_paper() -> None:
    """Olofsson et al. 2014, section 5: deforestation, forest gain, stable forest, stable non-forest."""
    sampled = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])  # rows are the map there
    pixels = np.array([200_000.0, 150_000, 3_200_000, 6_450_000])
    counts = sampled.T
    hectares = shares(counts, pixels) * pixels.sum() * 0.09
    error = standard_errors(counts, pixels) * pixels.sum() * 0.09
    assert hectares[0] == pytest.approx(21_158, abs=1)
    assert 1.96 * error[0] == pytest.approx(6_158, abs=1)
    assert hectares.sum() == pytest.approx(900_000)


def test_the_estimate_is_unbiased_where_the_count_of_pixels_is_not() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((40, 5_000)) < random.beta(2, 6, (40, 1))).astype(int)  # blocks differ
    missed = random.random(truth.shape) < np.where(truth == 1, 0.4, 0.05)
    shown = np.where(missed, 1 - truth, truth)
    counts = np.stack([np.bincount(t * 2 + s, minlength=4).reshape(2, 2) for t, s in zip(truth, shown, strict=True)])
    tested, rest = counts[:15], counts[15:]
    mapped = rest.sum(axis=(0, 1)).astype(float)
    found = areas(tested, mapped, ("land", "water"), SETTINGS)["water"]
    true = rest.sum(axis=(0, 2))[1]
    assert abs(found["value"] - true) < 0.15 * true < abs(found["mapped"] - true)
    assert found["low"] < true < found["high"]


@pytest.mark.parametrize("having", [1, 2, 3, 11])
def test_a_class_of_a_hectare_that_few_blocks_have_leaves_the_others_their_intervals(having: int) -> None:
    random = np.random.default_rng(3)
    counts = np.zeros((11, 3, 3), int)
    counts[:, :2, :2] = random.integers(50, 400, (11, 2, 2))
    with_it = counts.copy()
    with_it[:having, 2, 2] = 9
    common = areas(counts, np.array([900.0, 1000, 0]), ("a", "b", "rare"), SETTINGS)["a"]
    found = areas(with_it, np.array([900.0, 1000, 1]), ("a", "b", "rare"), SETTINGS)["a"]
    assert [found[end] for end in ("value", "low", "high")] == pytest.approx(
        [common[end] for end in ("value", "low", "high")], rel=0.01
    )


@pytest.mark.parametrize("having", [1, 2])
def test_of_a_class_that_one_or_two_blocks_have_tested_nothing_or_all_may_be_what_is_mapped(having: int) -> None:
    counts = np.zeros((11, 2, 2), np.int64)
    counts[:, 0, 0] = 300
    counts[3 : 3 + having, :, 1] = 40, 60  # of what is mapped as b there, 60 % is
    found = areas(counts, np.array([100.0, 900]), ("a", "b"), SETTINGS)
    assert found["b"]["value"] == pytest.approx(540)
    assert found["b"]["low"] == 0 and found["b"]["high"] == pytest.approx(900)
    assert found["a"]["low"] == pytest.approx(100) and found["a"]["high"] == pytest.approx(1000)
    (alone,) = {areas(counts[3:4], np.array([0.0, 900]), ("a", "b"), SETTINGS)["b"]["low"]}
    assert alone is None


def test_a_class_that_is_mapped_and_was_never_tested_is_refused_and_one_never_mapped_is_not() -> None:
    counts = np.array([[[5, 0, 0], [1, 4, 0], [2, 0, 0]]])
    with pytest.raises(BadData, match="c is on the map"):
        areas(counts, np.array([1.0, 1, 1]), ("a", "b", "c"), SETTINGS)
    found = areas(counts, np.array([8.0, 4, 0]), ("a", "b", "c"), SETTINGS)
    assert found["c"]["mapped"] == 0 and found["c"]["value"] == pytest.approx(8 * 2 / 8)


def test_maps_that_show_nothing_have_no_areas() -> None:
    with pytest.raises(BadData, match="show no class anywhere"):
        areas(np.ones((11, 2, 2), int), np.zeros(2), ("land", "water"), SETTINGS)
