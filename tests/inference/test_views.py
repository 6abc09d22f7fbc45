"""Views of a window, undone exactly and averaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.inference.views import averaged, calibrated, views


def images(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(2, 3, height, width)).astype(np.float32)


def drifting(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network that answers with the pixel up and to the left: it depends on how the image lies."""
    return np.roll(pixels, (1, 2), axis=(-2, -1))


@given(st.integers(1, 9), st.integers(1, 9))
def test_every_view_is_undone_and_none_is_another(height: int, width: int) -> None:
    pixels = images(height, width)
    seen = [view.of(pixels) for view in views(8)]
    for view, image in zip(views(8), seen, strict=True):
        assert np.array_equal(view.back(image), pixels)
    if height == width > 2:
        assert len({image.tobytes() for image in map(np.ascontiguousarray, seen)}) == 8
    assert np.array_equal(seen[0], pixels)


@pytest.mark.parametrize("count", [4, 8])
def test_the_average_turns_with_the_image_whatever_the_network_does(count: int) -> None:
    pixels, network = images(6, 6), averaged(drifting, count)
    for view in views(count):
        turned = np.ascontiguousarray(view.of(pixels))
        assert np.allclose(network(turned), view.of(network(pixels)), atol=1e-6)
        if view != views(1)[0]:
            assert not np.allclose(drifting(turned), view.of(drifting(pixels)))


def test_a_network_that_looks_at_single_pixels_gains_and_loses_nothing() -> None:
    pixels = images(5, 8)
    assert np.allclose(averaged(lambda x: 3 * x, 8)(pixels), 3 * pixels, atol=1e-6)


def test_probabilities_add_up_and_a_higher_temperature_flattens_them() -> None:
    sharp, flat = (calibrated(drifting, temperature)(images(4, 4)) for temperature in (1.0, 3.0))
    assert np.allclose(sharp.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(sharp.argmax(1), flat.argmax(1))
    assert (flat.max(axis=1) < sharp.max(axis=1)).all()
