"""The rows of a raster that lie under one row of windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import BadData
from pipelines.inference.arrays import Array, copied, device, like, namespace, overwrite
from pipelines.inference.windows import Axis


class Source(Protocol):
    """A raster that is read by rows."""

    @property
    def bands(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...

    def read(self, rows: slice) -> tuple[Array, NDArray[np.uint8]]:
        """Pixels ``(bands, rows, width)`` float32 in physical units, here or on a GPU, and mask ``(rows, width)`` in
        main memory, bits of ``MaskBit``.

        Where the mask is 0 every band is finite.
        """


class Strip:
    """The rows of a source under one row of windows; moving down reads only the rows that are new.

    Its pixels lie where the source puts them.
    """

    def __init__(self, source: Source, fill: NDArray[np.float32], window: int) -> None:
        if fill.shape != (source.bands,):
            raise BadData(f"{fill.size} fill values for {source.bands} bands; give one a band.")
        self._source, self._fill = source, fill
        rows = min(window, source.height)
        self._pixels: Array = None  # until the first rows are read
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
            self._pixels[:, :kept] = copied(self._pixels[:, shift : shift + kept])  # they may overlap
            self._mask[:kept] = self._mask[shift : shift + kept]
        if first + kept < end:
            pixels, mask = self._source.read(slice(first + kept, end))
            if self._pixels is None:
                shape = (self._source.bands, *self._mask.shape)
                self._pixels = namespace(pixels).empty(shape, dtype=pixels.dtype, device=device(pixels))
                self._fill = like(self._fill, pixels)
            self._pixels[:, kept : end - first] = pixels
            self._mask[kept : end - first] = mask
            overwrite(self._pixels[:, kept : end - first], self._fill[:, None, None], where=mask[None] != 0)
        self._first, self._end = first, end

    def rows(self, rows: slice) -> tuple[Array, NDArray[np.uint8]]:
        held = slice(rows.start - self._first, rows.stop - self._first)
        return copied(self._pixels[:, held]), self._mask[held].copy()

    def batches(self, down: Axis, top: int, across: Axis, batch: int) -> Iterator[tuple[list[int], Array]]:
        """Windows of the row at ``top`` that have a usable pixel, ``batch`` at a time: which of ``across.starts``, and
        their pixels ``(n, bands, window, window)``.

        Batches end with their row, so a resumed run forms the same ones.
        """
        usable = [c for c, left in enumerate(across.starts) if self._has_usable(down, top, across, left)]
        for i in range(0, len(usable), batch):
            columns = usable[i : i + batch]
            chips = [self._chip(down, top, across, across.starts[c]) for c in columns]
            yield columns, namespace(*chips).stack(chips)

    def usable(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether the pixels under ``points`` ``(n, 2)``, x and y on the raster and in the strip, are not masked."""
        columns = points[:, 0].astype(np.int64).clip(0, self._mask.shape[1] - 1)
        rows = (points[:, 1].astype(np.int64) - self._first).clip(0, self._end - self._first - 1)
        found: NDArray[np.bool_] = self._mask[rows, columns] == 0
        return found

    def _chip(self, down: Axis, top: int, across: Axis, left: int) -> Array:
        return self._pixels[:, :, across.pixels(left)][:, self._under(down, top)]

    def _has_usable(self, down: Axis, top: int, across: Axis, left: int) -> bool:
        on_raster, _ = down.inside(top)
        columns, _ = across.inside(left)
        return bool((self._mask[on_raster.start - self._first : on_raster.stop - self._first, columns] == 0).any())

    def _under(self, down: Axis, top: int) -> slice | NDArray[np.intp]:
        rows = down.pixels(top)
        if isinstance(rows, slice):
            return slice(rows.start - self._first, rows.stop - self._first)
        return rows - self._first
