from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from pipelines.evaluation.bootstrap import interval, paired_gain
from pipelines.evaluation.metrics import accuracy, class_scores, miou

OPTIONS = {"resamples": 300, "confidence": 0.9}


def blocks(rng: np.random.Generator, count: int, skill: float, spread: float) -> np.ndarray:
    """Confusion counts of two classes in ``count`` blocks whose accuracy varies around ``skill``."""
    right = rng.binomial(1000, np.clip(rng.normal(skill, spread, (count, 2)), 0, 1))
    return np.stack([np.stack([right[:, 0], 1000 - right[:, 0]], 1), np.stack([1000 - right[:, 1], right[:, 1]], 1)], 1)


def test_equal_blocks_give_an_interval_without_width():
    (found,) = interval(np.tile([[8, 2], [1, 9]], (5, 1, 1)), accuracy, **OPTIONS)
    assert (found.value, found.low, found.high) == (0.85, 0.85, 0.85)


def test_of_few_blocks_the_ends_are_student_s_around_the_jackknife_s_error():
    """Four blocks of a hundred pixels, of which 90, 80, 70 and 60 are right: their mean's standard error is
    sd / 2 = 0.12910 / 2, and t(0.975, 3) = 3.18245 (Student's table)."""
    counts = np.array([[[right, 100 - right], [0, 0]] for right in (90, 80, 70, 60)])
    (found,) = interval(counts, accuracy, resamples=300, confidence=0.95)
    reach = 3.18245 * 0.129099 / 2
    assert (found.value, found.low, found.high) == pytest.approx((0.75, 0.75 - reach, 0.75 + reach), abs=1e-4)


def test_each_class_has_an_interval_and_an_absent_one_has_none():
    counts = np.zeros((4, 3, 3), int)
    counts[:, :2, :2] = blocks(np.random.default_rng(0), 4, 0.8, 0.1)
    found = interval(counts, lambda c: class_scores(c).iou, **OPTIONS)
    assert len(found) == 3
    assert found[0].low < found[0].value < found[0].high
    assert found[2].value is None


def test_pairing_sees_a_small_gain_that_separate_intervals_hide():
    champion = blocks(np.random.default_rng(0), 12, 0.7, 0.1)
    better = champion + 10 * np.array([[1, -1], [-1, 1]])
    gain = paired_gain(better, champion, miou, **OPTIONS)
    assert 0 < gain.low < gain.value < gain.high
    alone = interval(better, miou, **OPTIONS)[0], interval(champion, miou, **OPTIONS)[0]
    assert alone[0].low < alone[1].value


def test_the_gain_over_itself_is_exactly_nothing():
    counts = blocks(np.random.default_rng(0), 6, 0.7, 0.1)
    gain = paired_gain(counts, counts, miou, **OPTIONS)
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_ground_without_objects_makes_no_gain_surer():
    """Of detectors: three blocks with objects, and many where nothing is, and nothing or little is found."""
    random = np.random.default_rng(2)
    found = random.integers(20, 40, 3)
    champion = np.array([[[0, 4], [60 - n, n]] for n in found])
    challenger = champion + np.array([[[0, 0], [-g, g]] for g in (5, 0, 7)])
    objects = partial(miou, void=0)
    alone = paired_gain(challenger, champion, objects, **OPTIONS)
    for empty in (np.zeros((60, 2, 2), np.int64), np.array([[[0, 1], [0, 0]]] * 60)):
        more = paired_gain(*(np.concatenate([counts, empty]) for counts in (challenger, champion)), objects, **OPTIONS)
        assert more.low <= alone.low and more.high - more.low >= 0.8 * (alone.high - alone.low)
        if not empty.any():
            assert more == alone


def test_blocks_that_do_not_match_are_refused():
    counts = blocks(np.random.default_rng(0), 6, 0.7, 0.1)
    with pytest.raises(ValueError, match="differ in shape"):
        paired_gain(counts, counts[:5], miou, **OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5, 30])
def test_intervals_hold_the_truth_about_as_often_as_they_claim(count: int):
    rng = np.random.default_rng(7)
    truth = float(accuracy(blocks(rng, 20_000, 0.75, 0.08).sum(0)))
    hits = 0
    for _ in range(400):
        (found,) = interval(blocks(rng, count, 0.75, 0.08), accuracy, **OPTIONS)
        hits += found.low <= truth <= found.high
    assert 0.84 <= hits / 400 <= 0.96


def test_one_block_says_nothing_of_how_blocks_differ():
    some = blocks(np.random.default_rng(0), 1, 0.8, 0.1)
    (found,) = interval(np.concatenate([some, np.zeros_like(some)]), miou, **OPTIONS)
    assert found.value == pytest.approx(float(miou(some[0]))) and found.low is found.high is None


def test_a_class_of_one_block_alone_has_no_interval_and_the_others_have():
    counts = np.zeros((11, 3, 3), int)
    counts[:, :2, :2] = blocks(np.random.default_rng(0), 11, 0.8, 0.1)
    counts[4, 2, 1:] = 10, 30
    first, _, rare = interval(counts, lambda c: class_scores(c).iou, **OPTIONS)
    assert first.low < first.value < first.high
    assert rare.value == pytest.approx(30 / 40) and rare.low is rare.high is None


def test_no_block_gives_no_number():
    (found,) = interval(np.zeros((4, 2, 2), int), miou, **OPTIONS)
    assert found.value is found.low is None
