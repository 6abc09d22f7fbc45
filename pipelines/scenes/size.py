"""Rasters that would fill memory or disk: refused before a pixel is read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rasterio.enums import Interleaving
from rasterio.windows import Window

from pipelines.errors import BadData

_PIXELS = 10**10
_BLOCK = 2**30  # bytes of a block or strip, decoded; it is decoded as a whole
_LARGE = 2**31  # bytes of a band from which it is looked at how many are really there
_RATIO = 1000  # decoded to stored bytes; deflate makes 1032 of nothing


def require_bearable(href: str, dataset: Any, window: Window) -> None:
    """Raise ``BadData`` if ``window`` of an open raster is too large, is almost nothing but emptiness, or lies in
    blocks too large to be decoded. ``href`` names the raster in the sentence."""
    pixels = int(window.width) * int(window.height)
    if pixels > _PIXELS:
        raise BadData(
            f"{href} has {window.width:.0f} x {window.height:.0f} pixels, over the limit of {_PIXELS:.0e}; ask for an "
            "area with params.scenes.area."
        )
    rows, columns = dataset.block_shapes[0]
    depth = max(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    depth *= dataset.count if dataset.interleaving == Interleaving.pixel else 1
    if rows * columns * depth > _BLOCK:
        raise BadData(
            f"{href} is stored in blocks of {columns} x {rows} pixels, {rows * columns * depth / 2**30:.1f} GiB each; "
            "store it anew in small ones (gdal_translate -of COG)."
        )
    if pixels * depth > _LARGE and dataset.driver == "GTiff":
        stored = _stored(dataset, window, rows, columns)
        if pixels * depth > _RATIO * stored:
            raise BadData(
                f"{href} claims {window.width:.0f} x {window.height:.0f} pixels and holds {stored} bytes of them; it "
                "is all but empty. Cut it to where it has data, or ask for an area with params.scenes.area."
            )


def _stored(dataset: Any, window: Window, rows: int, columns: int) -> int:
    """Bytes of the first band's blocks in ``window``; blocks that a sparse file leaves out have none."""
    down = range(int(window.row_off) // rows, math.ceil((window.row_off + window.height) / rows))
    across = range(int(window.col_off) // columns, math.ceil((window.col_off + window.width) / columns))
    sizes = (dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1) for y in down for x in across)
    return sum(int(size) for size in sizes if size)
