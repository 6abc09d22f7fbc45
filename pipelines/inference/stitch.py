"""The kernel: probabilities of a raster of any size, from windows of one size, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import BadData, SwathError
from pipelines.inference.blend import weights
from pipelines.inference.strip import Source, Strip
from pipelines.inference.windows import Axis


class Predictor(Protocol):
    def __call__(self, pixels: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Probabilities ``(n, classes, height, width)`` of pixels ``(n, bands, height, width)`` in physical units."""


class RowBand(NamedTuple):
    """Finished rows of the whole width. Where ``mask`` is not 0, ``pixels`` are the fill and ``probabilities`` void."""

    rows: slice
    pixels: NDArray[np.float32]  # (bands, rows, width), physical units
    mask: NDArray[np.uint8]  # (rows, width), bits of MaskBit
    probabilities: NDArray[np.float32]  # (classes, rows, width)


class Observer(Protocol):
    """Sees each finished row band once, in order, as ``observer(*band)``."""

    def __call__(
        self,
        rows: slice,
        pixels: NDArray[np.float32],
        mask: NDArray[np.uint8],
        probabilities: NDArray[np.float32],
        /,
    ) -> None: ...


def stitched(
    source: Source,
    predictor: Predictor,
    *,
    classes: int,
    fill: Sequence[float] | NDArray[np.float32],
    window: int,
    overlap: int,
    batch: int,
    max_memory: int,
    start: int = 0,
) -> Iterator[RowBand]:
    """Predict ``source`` in overlapping windows and yield its rows, each once, from the top.

    Masked pixels are set to ``fill`` (one physical value a band, the train means) before the network sees them;
    windows without a usable pixel skip it. Memory is a few rows of windows whatever the height; ``max_memory`` in
    bytes bounds that and the batches, not what the predictor itself needs. ``start`` resumes at the first row of a
    band of ``row_bands``, with the same values as in one go.

    Raises ``BadData`` if ``max_memory`` cannot hold one row of windows.
    """
    need = memory_need(source.bands, source.width, classes=classes, window=window, batch=1)
    if need > max_memory:
        raise BadData(
            f"A raster {source.width} pixels wide with {source.bands} bands and {classes} classes needs "
            f"{need / 1e6:.0f} MB for one row of windows of {window}, but only {max_memory / 1e6:.0f} MB of the memory "
            f"budget are left for it; raise max_memory or choose a smaller window."
        )
    each = _batch_need(source.bands, classes, window)
    batch = min(batch, 1 + (max_memory - need) // each)
    down, across = Axis(source.height, window, overlap), Axis(source.width, window, overlap)
    strip = Strip(source, np.asarray(fill, np.float32), window)
    row_weights, column_weights = weights(down), weights(across)
    sums = np.zeros((classes, window, source.width), np.float32)
    first = next(i for i, top in enumerate(down.starts) if top + window > start)
    done = start
    for at, top in list(enumerate(down.starts))[first:]:
        if at > first:
            moved = top - down.starts[at - 1]
            sums[:, : window - moved] = sums[:, moved:]
            sums[:, window - moved :] = 0
        strip.move(down, top)
        for columns, chips in strip.batches(down, top, across, batch):
            probabilities = _checked(predictor(chips), (len(columns), classes, window, window))
            for c, chip in zip(columns, probabilities, strict=True):
                on_raster, in_window = across.inside(across.starts[c])
                share = row_weights[at][:, None] * column_weights[c][None, in_window]
                sums[:, :, on_raster] += chip[:, :, in_window] * share
        end = _end(down, at)
        if end > done:
            pixels, mask = strip.rows(slice(done, end))
            yield RowBand(slice(done, end), pixels, mask, sums[:, done - top : end - top].copy())
            done = end


def row_bands(height: int, window: int, overlap: int) -> list[slice]:
    """The rows of each band that ``stitched`` yields for a raster of ``height`` rows."""
    axis = Axis(height, window, overlap)
    ends = [0, *(_end(axis, i) for i in range(len(axis.starts)))]
    return [slice(a, b) for a, b in pairwise(ends) if b > a]


def memory_need(bands: int, width: int, *, classes: int, window: int, batch: int) -> int:
    """Bytes that ``stitched`` takes for itself: rolling pixels and sums, the band handed out, and batches."""
    row = width * (4 * (bands + classes) + 1)
    rolling = row * window * 2  # moving the strip and the sums makes a copy of either at worst
    handed_out = row * window
    return rolling + handed_out + batch * _batch_need(bands, classes, window)


def _batch_need(bands: int, classes: int, window: int) -> int:
    return 4 * window * window * (2 * bands + 2 * classes)


def _end(axis: Axis, i: int) -> int:
    """One past the last row that no window after the ``i``-th touches."""
    return axis.length if i + 1 == len(axis.starts) else min(max(axis.starts[i + 1], 0), axis.length)


def _checked(probabilities: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if probabilities.shape != shape:
        raise BadData(f"The model gave an array of shape {probabilities.shape}, not {shape}; check its bundle.")
    if not np.isfinite(probabilities).all():
        raise SwathError("The model gave values that are not finite; check its weights and the input's values.")
    return probabilities
