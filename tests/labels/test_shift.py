from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipelines.labels.shift import measure_shift


def world(seed: int, sigma: float = 7) -> tuple[np.ndarray, np.ndarray]:
    """An image ``(2, 300, 300)`` of three classes with noise, and its labels."""
    random = np.random.default_rng(seed)
    field = gaussian_filter(random.random((300, 300)), sigma)
    labels = np.digitize(field, np.quantile(field, [0.33, 0.66])).astype(np.uint8)
    levels = np.array([[0.05, 0.1, 0.25], [0.3, 0.1, 0.2]])
    return (levels[:, labels] + random.normal(0, 0.03, (2, 300, 300))).astype(np.float32), labels


@pytest.mark.parametrize("shift", range(7))
def test_a_planted_shift_is_measured(shift: int) -> None:
    image, labels = world(shift)
    right, down = shift, -(shift // 2)
    found = measure_shift(image[:, 20:-20, 20:-20], moved(labels, right, down), np.ones((260, 260), bool))
    assert found.measurable
    assert (found.dx, found.dy) == pytest.approx((-right, -down), abs=0.5)
    assert found.pixels == pytest.approx(np.hypot(right, down), abs=0.5)


def moved(labels: np.ndarray, right: int, down: int) -> np.ndarray:
    return labels[20 - down : 280 - down, 20 - right : 280 - right]


def test_half_a_pixel_is_measured() -> None:
    random = np.random.default_rng(3)
    field = gaussian_filter(random.random((600, 600)), 14)
    fine = (field > np.median(field)).astype(np.float32)
    image = fine.reshape(300, 2, 300, 2).mean(axis=(1, 3))[None] + random.normal(0, 0.02, (1, 300, 300))
    late = (np.roll(fine, 1, axis=1).reshape(300, 2, 300, 2).mean(axis=(1, 3)) > 0.5).astype(np.uint8)
    found = measure_shift(image.astype(np.float32), late, np.ones((300, 300), bool))
    assert found.measurable
    assert found.dx == pytest.approx(-0.5, abs=0.35) and abs(found.dy) < 0.3


def test_clouds_and_unlabelled_ground_do_not_count() -> None:
    image, labels = world(11)
    usable = np.ones(labels.shape, bool)
    usable[40:120, 60:200] = False
    image[:, ~usable] = 5.0
    labels = np.roll(labels, 4, axis=1)
    labels[200:, :90] = 255
    found = measure_shift(image, labels, usable)
    assert found.measurable and found.dx == pytest.approx(-4, abs=0.7) and abs(found.dy) < 0.7


@pytest.mark.parametrize("seed", range(5))
def test_an_image_that_knows_nothing_of_the_labels_measures_nothing(seed: int) -> None:
    _, labels = world(seed)
    stranger, _ = world(seed + 100)
    assert not measure_shift(stranger, labels, np.ones(labels.shape, bool)).measurable


def test_labels_without_edges_measure_nothing() -> None:
    image, _ = world(0)
    assert not measure_shift(image, np.zeros((300, 300), np.uint8), np.ones((300, 300), bool)).measurable
    assert not measure_shift(image[:, :30, :30], world(0)[1][:30, :30], np.ones((30, 30), bool)).measurable
