"""The kernel: probabilities of a raster of any size, from windows of one size, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import BadData, SwathError
from pipelines.inference.blend import weights
from pipelines.inference.windows import Axis


class Source(Protocol):
    """A raster that is read by rows."""

    @property
    def bands(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...

    def read(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Pixels ``(bands, rows, width)`` in physical units, and mask ``(rows, width)``, bits of ``MaskBit``.

        Where the mask is 0 every band is finite.
        """


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
    strip = _Strip(source, np.asarray(fill, np.float32), window)
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
        for columns in _batches(strip, across, batch, down, top):
            chips = np.stack([strip.chip(down, top, across, across.starts[c]) for c in columns])
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


def _batches(strip: _Strip, across: Axis, batch: int, down: Axis, top: int) -> Iterator[list[int]]:
    """Indices of the windows of one row that have a usable pixel, ``batch`` at a time.

    Batches end with their row, so a resumed run forms the same ones.
    """
    usable = [c for c, left in enumerate(across.starts) if strip.has_usable(down, top, across, left)]
    for i in range(0, len(usable), batch):
        yield usable[i : i + batch]


def _checked(probabilities: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if probabilities.shape != shape:
        raise BadData(f"The model gave an array of shape {probabilities.shape}, not {shape}; check its bundle.")
    if not np.isfinite(probabilities).all():
        raise SwathError("The model gave values that are not finite; check its weights and the input's values.")
    return probabilities


class _Strip:
    """The rows of a source under one row of windows; moving down reads only the rows that are new."""

    def __init__(self, source: Source, fill: NDArray[np.float32], window: int) -> None:
        if fill.shape != (source.bands,):
            raise BadData(f"{fill.size} fill values for {source.bands} bands; give one a band.")
        self._source, self._fill = source, fill
        rows = min(window, source.height)
        self._pixels = np.empty((source.bands, rows, source.width), np.float32)
        self._mask = np.empty((rows, source.width), np.uint8)
        self._first = self._end = 0

    def move(self, down: Axis, top: int) -> None:
        on_raster, _ = down.inside(top)
        # Reflection looks back from a border by no more than the window itself holds, except in a raster that is
        # smaller than the window, which is held whole.
        first, end = (0, down.length) if down.length <= down.window else (on_raster.start, on_raster.stop)
        kept = max(self._end - first, 0) if self._end else 0
        if kept:
            shift = first - self._first
            self._pixels[:, :kept] = self._pixels[:, shift : shift + kept]
            self._mask[:kept] = self._mask[shift : shift + kept]
        if first + kept < end:
            pixels, mask = self._source.read(slice(first + kept, end))
            self._pixels[:, kept : end - first] = pixels
            self._mask[kept : end - first] = mask
            np.copyto(self._pixels[:, kept : end - first], self._fill[:, None, None], where=mask[None] != 0)
        self._first, self._end = first, end

    def rows(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        held = slice(rows.start - self._first, rows.stop - self._first)
        return self._pixels[:, held].copy(), self._mask[held].copy()

    def chip(self, down: Axis, top: int, across: Axis, left: int) -> NDArray[np.float32]:
        return self._pixels[:, :, across.pixels(left)][:, self._under(down, top)]

    def has_usable(self, down: Axis, top: int, across: Axis, left: int) -> bool:
        on_raster, _ = down.inside(top)
        columns, _ = across.inside(left)
        return bool((self._mask[on_raster.start - self._first : on_raster.stop - self._first, columns] == 0).any())

    def _under(self, down: Axis, top: int) -> slice | NDArray[np.intp]:
        rows = down.pixels(top)
        if isinstance(rows, slice):
            return slice(rows.start - self._first, rows.stop - self._first)
        return rows - self._first
