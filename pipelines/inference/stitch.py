"""The kernel: probabilities of a raster of any size, from windows of one size, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, groupby, pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.ahead import ahead
from pipelines.errors import BadData
from pipelines.inference.arrays import Array, copied, device, like, namespace
from pipelines.inference.blend import weights
from pipelines.inference.strip import Source, Strip
from pipelines.inference.windows import Axis

_AHEAD = 2  # batches a thread of the network: one that it works on, and the next


class Predictor(Protocol):
    def __call__(self, pixels: Array, /) -> Array:
        """Probabilities ``(n, classes, height, width)`` of pixels ``(n, bands, height, width)`` in physical units, both
        float32 and in the same memory.

        It is called from other threads.
        """


class RowBand(NamedTuple):
    """Finished rows of the whole width. Where ``mask`` is not 0, ``pixels`` are the fill and ``probabilities`` void."""

    rows: slice
    pixels: Array  # (bands, rows, width) float32, physical units, where the source puts them
    mask: NDArray[np.uint8]  # (rows, width), bits of MaskBit
    probabilities: Array  # (classes, rows, width) float32, in the same memory as the pixels


class Observer(Protocol):
    """Sees each finished row band once, in order, as ``observer(*band)``."""

    def __call__(
        self,
        rows: slice,
        pixels: Array,
        mask: NDArray[np.uint8],
        probabilities: Array,
        /,
    ) -> None: ...


def stitched(
    source: Source,
    predictor: Predictor,
    *,
    classes: int,
    fill: Sequence[float] | NDArray[np.float32],
    down: Axis,
    across: Axis,
    batch: int,
    max_memory: int,
    calls: int = 1,
    start: int = 0,
    read_ahead: bool = False,
) -> Iterator[RowBand]:
    """Predict ``source`` in the windows of ``down`` and ``across`` and yield its rows, each once, from the top.

    Masked pixels are set to ``fill`` (one physical value a band, the train means) before the network sees them;
    windows without a usable pixel skip it. The network runs in ``calls`` threads while rows are read, blended and
    handed out in this one; with ``read_ahead`` the next row of windows is read in one of its own. All is done where the
    source puts its pixels, in main memory or on a GPU. Memory there is a few rows of windows whatever the height;
    ``max_memory`` in bytes bounds that and the batches, not what the predictor itself needs. ``start`` resumes at the
    first row of a band of ``row_bands``, with the same values as in one go.

    Raises ``BadData`` if ``max_memory`` cannot hold one row of windows.
    """
    common: dict[str, Any] = {"down": down, "across": across, "calls": calls, "read_ahead": read_ahead}
    need = memory_need(source.bands, source.width, classes=classes, batch=1, **common)
    if need > max_memory:
        raise BadData(
            f"A raster {source.width} pixels wide with {source.bands} bands and {classes} classes needs "
            f"{need / 1e6:.0f} MB for one row of windows of {down.window}, but only {max_memory / 1e6:.0f} MB of the "
            f"memory budget are left for it; raise max_memory or choose a smaller window."
        )
    each = _batch_need(source.bands, classes, down, across, calls)
    batch = min(batch, 1 + (max_memory - need) // each)
    row_weights, column_weights = weights(down), weights(across)
    sums: Array = None  # until it shows where pixels lie
    row = None
    steps = _steps(source, np.asarray(fill, np.float32), down, across, batch, start)
    parts = (list(part) for _, part in groupby(steps, key=_at)) if read_ahead else ([step] for step in steps)
    with (
        ThreadPoolExecutor(calls) as pool,
        closing(ahead(parts, 1 if read_ahead else 0)) as made,
        closing(_answered(chain.from_iterable(made), predictor, pool, _AHEAD * calls)) as answered,
    ):
        for step, answer in answered:
            at, top = step.at, down.starts[step.at]
            if sums is None:
                xp, shape = namespace(step.pixels), (classes, down.window, source.width)
                sums = xp.zeros(shape, dtype=xp.float32, device=device(step.pixels))
                row_weights, column_weights = like(row_weights, sums), like(column_weights, sums)
            if row is not None and at > row:
                kept = max(down.window - (top - down.starts[row]), 0)
                sums[:, :kept] = copied(sums[:, down.window - kept :])  # they may overlap
                sums[:, kept:] = 0
            row = at
            if isinstance(step, _Finished):
                done = step.rows
                yield RowBand(done, step.pixels, step.mask, copied(sums[:, done.start - top : done.stop - top]))
                continue
            assert answer is not None
            probabilities = _checked(answer, (len(step.columns), classes, down.window, across.window))
            for c, chip in zip(step.columns, probabilities, strict=True):
                on_raster, in_window = across.inside(across.starts[c])
                share = row_weights[at][:, None] * column_weights[c][None, in_window]
                sums[:, :, on_raster] += chip[:, :, in_window] * share


class _Seen(NamedTuple):
    """Windows of the ``at``-th row of windows for the network."""

    at: int
    columns: list[int]
    pixels: Array


class _Finished(NamedTuple):
    """Rows that no window after the ``at``-th row of them touches."""

    at: int
    rows: slice
    pixels: Array
    mask: NDArray[np.uint8]


def _at(step: _Seen | _Finished) -> int:
    return step.at


_Waiting = tuple[_Seen | _Finished, Future[Array] | None]


def _steps(
    source: Source, fill: NDArray[np.float32], down: Axis, across: Axis, batch: int, start: int
) -> Iterator[_Seen | _Finished]:
    if start >= down.length:
        return
    strip = Strip(source, fill, down.window)
    first = next(i for i, top in enumerate(down.starts) if top + down.window > start)
    done = start
    for at, top in list(enumerate(down.starts))[first:]:
        strip.move(down, top)
        for columns, chips in strip.batches(down, top, across, batch):
            yield _Seen(at, columns, chips)
        end = _end(down, at)
        if end > done:
            yield _Finished(at, slice(done, end), *strip.rows(slice(done, end)))
            done = end


def _answered(
    steps: Iterator[_Seen | _Finished], predictor: Predictor, pool: ThreadPoolExecutor, most: int
) -> Generator[tuple[_Seen | _Finished, Array]]:
    """Each step in order with what the predictor says of it, of which ``most`` are asked beforehand."""
    waiting: deque[_Waiting] = deque()
    try:
        for step in steps:
            waiting.append((step, pool.submit(predictor, step.pixels) if isinstance(step, _Seen) else None))
            while _asked(waiting) > most or len(waiting) - _asked(waiting) > 1:
                ready, future = waiting.popleft()
                yield ready, future.result() if future else None
        while waiting:
            ready, future = waiting.popleft()
            yield ready, future.result() if future else None
    finally:
        for _, future in waiting:
            if future:
                future.cancel()


def _asked(waiting: Iterable[_Waiting]) -> int:
    return sum(future is not None for _, future in waiting)


def row_bands(down: Axis, start: int = 0) -> list[slice]:
    """The rows of each band that ``stitched`` yields, from ``start`` on."""
    ends = [0, *(_end(down, i) for i in range(len(down.starts)))]
    return [slice(a, b) for a, b in pairwise(ends) if b > a and b > start]


def memory_need(
    bands: int,
    width: int,
    *,
    classes: int,
    down: Axis,
    across: Axis,
    batch: int,
    calls: int = 1,
    read_ahead: bool = False,
) -> int:
    """Bytes that ``stitched`` takes for itself: rolling pixels and sums, bands handed out, and batches."""
    row = width * (4 * (bands + classes) + 1)
    rolling = row * down.window * 2  # moving the strip and the sums makes a copy of either at worst
    handed_out = row * down.window * 2  # one is waiting while another is written
    chips = 4 * bands * down.window * across.window * len(across.starts)
    # a row of windows with the rows that it finishes is worked on while the next one is read
    read = 2 * (chips + row * down.window) if read_ahead else 0
    return rolling + handed_out + read + batch * _batch_need(bands, classes, down, across, calls)


def _batch_need(bands: int, classes: int, down: Axis, across: Axis, calls: int) -> int:
    """Of one window of a batch: those that wait for their turn, and that which is blended."""
    return 4 * down.window * across.window * (bands + classes) * (_AHEAD * calls + 2)


def _end(axis: Axis, i: int) -> int:
    """One past the last row that no window after the ``i``-th touches."""
    return axis.length if i + 1 == len(axis.starts) else min(max(axis.starts[i + 1], 0), axis.length)


def _checked(probabilities: Array, shape: tuple[int, ...]) -> Array:
    if tuple(probabilities.shape) != shape:
        raise BadData(f"The model gave an array of shape {tuple(probabilities.shape)}, not {shape}; check its bundle.")
    if not bool(namespace(probabilities).isfinite(probabilities).all()):
        raise BadData("The model gave values that are not finite; check its weights and the input's values.")
    return probabilities
