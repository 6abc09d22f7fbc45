"""Which places the labelling queue takes, and in which order."""

from __future__ import annotations

import numpy as np

from pipelines.monitoring.worth import choose, look_of

KNOWN = np.random.default_rng(0).normal(0, 1, (50, 4)).astype(np.float32)
FAR, FARTHER = np.full(4, 8.0), np.full(4, -9.0)


def test_ground_like_no_training_ground_comes_before_as_doubtful_ground_that_is_known():
    assert choose(np.array([0.4, 0.4]), np.stack([KNOWN[3], FAR]), KNOWN, 2) == [1, 0]


def test_doubt_decides_among_places_that_look_alike():
    assert choose(np.array([0.1, 0.4, 0.2]), np.stack([FAR] * 3), KNOWN, 1) == [1]


def test_what_was_taken_is_not_taken_in_another_place_again():
    looks = np.stack([FAR] * 5 + [FARTHER])
    assert set(choose(np.array([0.5] * 5 + [0.2]), looks, KNOWN, 2)) >= {5}


def test_where_no_training_ground_is_known_doubt_comes_first():
    none = np.empty((0, 4), np.float32)
    assert choose(np.array([0.1, 0.3, 0.2]), np.stack([FAR, FAR, FARTHER]), none, 3)[:2] == [1, 2]


def test_units_of_a_band_do_not_decide():
    looks, known, doubt = np.stack([FAR, FARTHER, KNOWN[0]]), KNOWN, np.array([0.2, 0.15, 0.3])
    scale = np.array([1, 1000, 1, 0.01])
    assert choose(doubt, looks, known, 3) == choose(doubt, looks * scale, known * scale, 3)


def test_more_places_are_never_chosen_than_there_are():
    assert sorted(choose(np.array([0.1, 0.0]), np.stack([FAR, FARTHER]), KNOWN, 20)) == [0, 1]


def test_a_look_leaves_out_what_cannot_be_used():
    pixels = np.full((2, 4, 4), 0.2, np.float32)
    pixels[:, 0] = 9
    usable = np.ones((4, 4), bool)
    usable[0] = False
    np.testing.assert_allclose(look_of(pixels, usable), [0.2, 0.2, 0, 0], atol=1e-6)
