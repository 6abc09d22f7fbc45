"""The kernel's promises: constant in, constant out; tiled equals whole; rows once; memory bounded; resumable."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipelines.errors import BadData, SwathError
from pipelines.inference.blend import weights
from pipelines.inference.stitch import memory_need, row_bands, stitched
from pipelines.inference.windows import Axis, axes

CLASSES = 3
PLENTY = 10**9


@dataclass
class ArraySource:
    pixels: NDArray[np.float32]
    mask: NDArray[np.uint8] | None = None
    reads: list[slice] = field(default_factory=list)

    @property
    def bands(self) -> int:
        return self.pixels.shape[0]

    @property
    def height(self) -> int:
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        return self.pixels.shape[2]

    def read(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        self.reads.append(rows)
        mask = np.zeros(self.pixels.shape[1:], np.uint8) if self.mask is None else self.mask
        return self.pixels[:, rows], mask[rows]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def pointwise(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A 1x1 convolution from 2 bands to 3 classes, and softmax."""
    kernel = np.array([[1.0, -2.0], [0.5, 0.3], [-1.0, 1.0]], np.float32)
    return softmax(np.einsum("kb,nbhw->nkhw", kernel, pixels))


def constant(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    shares = np.array([0.7, 0.2, 0.1], np.float32)[None, :, None, None]
    return np.broadcast_to(shares, (len(pixels), 3, *pixels.shape[2:])).copy()


def neighbourly(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sees two pixels around each, zeros beyond a window's edge as convolutions have them."""
    padded = np.pad(pixels, ((0, 0), (0, 0), (2, 2), (2, 2)))
    means = sliding_window_view(padded, (5, 5), axis=(2, 3)).mean(axis=(-2, -1))
    return softmax(np.concatenate([8 * means, means[:, :1] * 0], axis=1))


def contextual(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depends on each window's whole content, so it shows which windows were seen and how they were mixed."""
    level = pixels.mean(axis=(1, 2, 3), keepdims=True)
    return softmax(np.concatenate([pixels[:, :1], level + 0 * pixels[:, :1], pixels[:, 1:2]], axis=1))


def whole(bands, classes=CLASSES):
    return np.concatenate([band.probabilities for band in bands], axis=1)


def run(source, predictor=pointwise, *, window=32, overlap=8, batch=3, max_memory=PLENTY, calls=2, **also):
    return list(
        stitched(
            source,
            predictor,
            classes=CLASSES,
            fill=[0.0] * source.bands,
            down=Axis(source.height, window, overlap),
            across=Axis(source.width, window, overlap),
            batch=batch,
            max_memory=max_memory,
            calls=calls,
            **also,
        )
    )


def noise(height, width, bands=2, seed=0):
    return np.random.default_rng(seed).normal(size=(bands, height, width)).astype(np.float32)


sizes = st.one_of(st.integers(1, 40), st.integers(1, 300))
windows = st.integers(4, 80).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, w // 2)))


@given(length=sizes, window=windows)
def test_weights_sum_to_one_and_windows_cover_the_axis(length, window):
    axis = Axis(length, *window)
    total = np.zeros(length)
    for start, share in zip(axis.starts, weights(axis), strict=True):
        on_raster, in_window = axis.inside(start)
        assert (share >= 0).all()
        total[on_raster] += share[in_window]
    assert np.abs(total - 1).max() < 1e-6


@given(height=sizes, width=sizes, window=st.sampled_from([64, 256, 512]), overlap=st.sampled_from([0, 17, 32]))
def test_windows_are_as_many_as_asked_for_and_no_larger_than_that_needs(height, width, window, overlap):
    for length, axis in zip((height, width), axes(height, width, window, overlap, "segmentation"), strict=True):
        asked = Axis(length, window, overlap)
        assert len(axis.starts) == len(asked.starts)
        assert axis.window <= window and axis.window % 32 == 0
        smaller = axis.window - 32
        assert smaller < max(2 * overlap, 1) or len(Axis(length, smaller, overlap).starts) > len(asked.starts)


def test_a_small_raster_is_seen_in_a_small_window_unless_its_class_is_that_of_the_window():
    down, across = axes(20, 90, 512, 64, "segmentation")
    assert (down.window, across.window) == (128, 160) and down.starts == across.starts == (-32,)
    assert [axis.window for axis in axes(20, 90, 512, 64, "classification")] == [512, 512]


@given(length=sizes, window=windows)
def test_borders_are_reflected_like_numpy_does_as_often_as_need_be(length, window):
    axis = Axis(length, *window)
    margin = window[0] + window[1]
    expected = np.pad(np.arange(length), margin, mode="reflect")
    for start in axis.starts:
        seen = np.arange(length)[axis.pixels(start)]
        assert (seen == expected[start + margin : start + margin + window[0]]).all()


@settings(deadline=None, max_examples=60)
@given(height=sizes, width=sizes, window=windows, batch=st.integers(1, 9))
def test_constant_model_gives_a_constant_map_up_to_the_corners(height, width, window, batch):
    result = whole(run(ArraySource(noise(height, width)), constant, window=window[0], overlap=window[1], batch=batch))
    assert result.shape == (3, height, width)
    assert np.abs(result - np.array([0.7, 0.2, 0.1])[:, None, None]).max() < 1e-6


@settings(deadline=None, max_examples=60)
@given(height=sizes, width=sizes, window=windows, batch=st.integers(1, 9))
def test_pointwise_model_gives_the_same_map_tiled_or_whole(height, width, window, batch):
    pixels = noise(height, width, seed=height)
    result = whole(run(ArraySource(pixels), window=window[0], overlap=window[1], batch=batch))
    assert np.abs(result - pointwise(pixels[None])[0]).max() < 1e-5


@settings(deadline=None, max_examples=30)
@given(down=st.integers(0, 60), across=st.integers(0, 60), overlap=st.integers(8, 20))
def test_a_shifted_grid_changes_no_pixel_that_the_network_sees_whole(down, across, overlap):
    pixels = noise(150, 130)
    options = {"window": 40, "overlap": overlap}
    once = whole(run(ArraySource(pixels), neighbourly, **options))
    shifted = whole(run(ArraySource(pixels[:, down:, across:]), neighbourly, **options))
    seen = slice(2, None)  # what lies nearer to the new border was reflected there
    assert np.abs(once[:, down:, across:][:, seen, seen] - shifted[:, seen, seen]).max() < 1e-6
    inner = slice(2, -2)
    assert np.abs(once[:, inner, inner] - neighbourly(pixels[None])[0][:, inner, inner]).max() < 1e-6


@settings(deadline=None, max_examples=60)
@given(height=sizes, width=st.integers(1, 90), window=windows)
def test_rows_come_once_in_order_and_each_is_read_once(height, width, window):
    source = ArraySource(noise(height, width))
    bands = run(source, window=window[0], overlap=window[1])
    assert [band.rows for band in bands] == row_bands(Axis(height, *window))
    assert [row for band in bands for row in range(height)[band.rows]] == list(range(height))
    assert [row for rows in source.reads for row in range(height)[rows]] == list(range(height))
    assert np.array_equal(np.concatenate([band.pixels for band in bands], axis=1), source.pixels)


@settings(deadline=None, max_examples=60)
@given(height=sizes, width=st.integers(1, 90), window=windows, data=st.data())
def test_resuming_at_any_band_gives_the_same_values_to_the_bit(height, width, window, data):
    pixels = noise(height, width)
    once = run(ArraySource(pixels), contextual, window=window[0], overlap=window[1])
    at = data.draw(st.integers(0, len(once) - 1))
    again = run(ArraySource(pixels), contextual, window=window[0], overlap=window[1], start=once[at].rows.start)
    assert [band.rows for band in again] == [band.rows for band in once[at:]]
    assert np.array_equal(whole(again), whole(once[at:]))


def test_masked_pixels_reach_the_network_as_the_fill_and_keep_their_mask():
    pixels, mask = noise(50, 60), np.zeros((50, 60), np.uint8)
    pixels[:, 10:20, 5:9], mask[10:20, 5:9] = np.nan, 2
    seen = []

    def record(chips):
        seen.append(chips)
        return constant(chips)

    bands = list(
        stitched(
            ArraySource(pixels, mask),
            record,
            classes=3,
            fill=[7.0, 9.0],
            down=Axis(50, 32, 8),
            across=Axis(60, 32, 8),
            batch=4,
            max_memory=PLENTY,
        )
    )
    assert np.isfinite(np.concatenate(seen)).all()
    assert (np.concatenate([band.pixels for band in bands], axis=1)[:, 10:20, 5:9] == [[[7.0]], [[9.0]]]).all()
    assert np.array_equal(np.concatenate([band.mask for band in bands]), mask)


def test_windows_without_data_skip_the_network():
    mask = np.ones((64, 640), np.uint8)
    mask[:, :16] = 0
    calls = []

    def count(chips):
        calls.append(len(chips))
        return constant(chips)

    result = run(ArraySource(noise(64, 640), mask), count)
    assert sum(calls) == 3  # one column of windows
    assert np.abs(whole(result)[0, :, :16] - 0.7).max() < 1e-6
    calls.clear()
    run(ArraySource(noise(64, 64), np.ones((64, 64), np.uint8)), count)
    assert calls == []


def test_budget_too_small_for_one_row_of_windows_is_refused_with_the_need():
    with pytest.raises(BadData, match=r"needs \d+ MB for one row of windows"):
        run(ArraySource(noise(40, 400)), max_memory=10_000)


def test_budget_bounds_the_batch():
    sizes = []

    def record(chips):
        sizes.append(len(chips))
        return constant(chips)

    down, across = Axis(40, 32, 8), Axis(400, 32, 8)
    tight = memory_need(2, 400, classes=3, down=down, across=across, batch=2, calls=2)
    run(ArraySource(noise(40, 400)), record, batch=8, max_memory=tight)
    assert max(sizes) == 2


def test_a_model_that_gives_nan_or_another_shape_is_an_error():
    with pytest.raises(SwathError, match="not finite"):
        run(ArraySource(noise(40, 40)), lambda chips: constant(chips) * np.nan)
    with pytest.raises(BadData, match="shape"):
        run(ArraySource(noise(40, 40)), lambda chips: constant(chips)[:, :2])


def test_overlap_beyond_half_the_window_is_refused():
    with pytest.raises(BadData, match="overlap"):
        run(ArraySource(noise(40, 40)), window=32, overlap=17)
