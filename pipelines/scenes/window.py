"""The part of a raster that lies in the area asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rasterio.warp import transform_bounds
from rasterio.windows import Window, from_bounds

from pipelines.errors import BadData
from pipelines.scenes.area import Bounds, parts
from pipelines.scenes.footprint import footprint

_MARGIN = 0.05  # degrees around the raster, so that what is cut off lies outside of it


def window_of(area: Bounds | None, dataset: Any, href: str) -> Window:
    """The whole pixels of an open raster that meet ``area``. Raises ``BadData`` if there are none."""
    whole = Window(0, 0, dataset.width, dataset.height)
    if area is None:
        return whole
    found = [one for one in _windows(area, dataset, href) if one[0] < one[2] and one[1] < one[3]]
    if not found:
        raise BadData(f"{href} has no pixels in the area {area}; its footprint in the catalog is wrong.")
    left, top = (min(one[i] for one in found) for i in (0, 1))
    right, bottom = (max(one[i] for one in found) for i in (2, 3))
    return Window(left, top, right - left, bottom - top)


def _windows(area: Bounds, dataset: Any, href: str) -> Iterator[tuple[int, int, int, int]]:
    """First column and row, and those past the last, for each part of the area near a part of the raster.

    The rest of the area is cut off first: half the globe away a projection says nothing, or something wrong.
    """
    _, own = footprint(dataset.crs, dataset.transform, dataset.width, dataset.height, href)
    for west, south, east, north in parts(area):
        for left, bottom, right, top in parts(own):
            low = max(west, left - _MARGIN), max(south, bottom - _MARGIN)
            high = min(east, right + _MARGIN), min(north, top + _MARGIN)
            if low[0] >= high[0] or low[1] >= high[1]:
                continue
            bounds = transform_bounds("EPSG:4326", dataset.crs, *low, *high, densify_pts=21)
            for turn in (-360, 0, 360) if dataset.crs.is_geographic else (0,):  # it may count on beyond 180
                wanted = from_bounds(bounds[0] + turn, bounds[1], bounds[2] + turn, bounds[3], dataset.transform)
                yield (
                    max(0, math.floor(wanted.col_off)),
                    max(0, math.floor(wanted.row_off)),
                    min(dataset.width, math.ceil(wanted.col_off + wanted.width)),
                    min(dataset.height, math.ceil(wanted.row_off + wanted.height)),
                )
