"""The pixels of a mosaic, and which of them each map covers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform, transform_bounds

from pipelines.errors import BadData
from pipelines.inference.layers import PROBABILITIES

_DEGREES = CRS.from_epsg(4326)
_BEYOND = 2  # pixels of the mosaic around a map that count as its own, for its borders are bent where it is warped
Box = tuple[float, float, float, float]  # west, south, east, north


@dataclass(frozen=True)
class MosaicGrid:
    """The pixels of a mosaic."""

    crs: str
    affine: Affine
    width: int
    height: int


@dataclass(frozen=True)
class Placed:
    """A map's folder, and the rows and columns of the mosaic outside of which it has nothing."""

    folder: Path
    rows: slice
    columns: slice


@dataclass(frozen=True)
class _Map:
    crs: CRS
    transform: Affine
    box: Box

    @property
    def north_up(self) -> bool:
        return bool(self.transform.b == self.transform.d == 0 and self.transform.a > 0 > self.transform.e)

    @property
    def size(self) -> tuple[float, float]:
        """Of a pixel, to the east and to the north, as a grid that is not turned has it."""
        t = self.transform
        return (t.a, t.e) if self.north_up else (hypot(t.a, t.d), -hypot(t.b, t.e))


def grid_of(
    folders: Sequence[Path], crs: str | None, resolution: float | None
) -> tuple[MosaicGrid, tuple[Placed, ...]]:
    """North up, over all maps; on the pixels of the first of those that have the grid's CRS and resolution.

    Raises ``BadData`` for a CRS that is none, that does not hold all maps, or that has its two ends between them.
    """
    maps = [_read(folder) for folder in folders]
    try:
        chosen = CRS.from_user_input(crs) if crs else Counter(one.crs for one in maps).most_common(1)[0][0]
    except CRSError as error:
        raise BadData(f"{crs!r} is no CRS ({error}); give one such as EPSG:32633.") from None
    own = [one for one in maps if one.crs == chosen]
    if resolution is None and not own:
        raise BadData(f"No map is in {chosen}, so its pixel size is not known; give --resolution in its units.")
    size = (resolution, -resolution) if resolution else Counter(one.size for one in own).most_common(1)[0][0]
    fitting = (one.transform for one in own if one.north_up and one.size == size)
    like = next(fitting, Affine(size[0], 0, 0, 0, size[1], 0))
    boxes = [transform_bounds(one.crs, chosen, *one.box, densify_pts=21) for one in maps]
    if not np.isfinite(boxes).all():
        raise BadData(f"Not all maps have a place in {chosen}; choose a CRS that covers them all.")
    if _torn(chosen, [transform_bounds(one.crs, _DEGREES, *one.box, densify_pts=21) for one in maps]):
        raise BadData(
            f"The maps lie on both sides of the antimeridian, where {chosen} has its two ends, and no mosaic in it can "
            "span that; give a projected CRS of the place with --crs."
        )
    edges = [_edges(like, box) for box in boxes]
    top, left = min(rows.start for rows, _ in edges), min(columns.start for _, columns in edges)
    height, width = max(rows.stop for rows, _ in edges) - top, max(columns.stop for _, columns in edges) - left
    code = chosen.to_epsg()
    grid = MosaicGrid(f"EPSG:{code}" if code else chosen.to_wkt(), like @ Affine.translation(left, top), width, height)
    placed = (
        Placed(folder, _around(rows, top, height), _around(columns, left, width))
        for folder, (rows, columns) in zip(folders, edges, strict=True)
    )
    return grid, tuple(placed)


def _read(folder: Path) -> _Map:
    with rasterio.open(folder / PROBABILITIES) as source:
        corners = [source.transform @ (x, y) for x in (0, source.width) for y in (0, source.height)]
        (west, south), (east, north) = np.min(corners, axis=0), np.max(corners, axis=0)
        if source.crs.is_geographic and (west < -180 - 1e-6 or east > 180 + 1e-6):  # GDAL finds nothing there
            raise BadData(
                f"{folder} lies from {west:.2f} to {east:.2f} degrees, beyond the antimeridian; map its raster cut "
                "there and shifted to -180 to 180, or in a projected CRS."
            )
        return _Map(source.crs, source.transform, (west, south, east, north))


def _edges(like: Affine, box: Box) -> tuple[slice, slice]:
    """Rows and columns of ``like`` that ``box`` touches."""
    (left, top), (right, bottom) = ~like @ (box[0], box[3]), ~like @ (box[2], box[1])
    return _whole(top, bottom), _whole(left, right)


def _whole(first: float, last: float) -> slice:
    return slice(int(np.floor(first + 1e-6)), int(np.ceil(last - 1e-6)))


def _around(pixels: slice, start: int, length: int) -> slice:
    return slice(max(pixels.start - start - _BEYOND, 0), min(pixels.stop - start + _BEYOND, length))


def _torn(chosen: CRS, boxes: Sequence[Box]) -> bool:
    """Whether ``boxes``, in degrees, lie on both sides of the meridian at which ``chosen`` has its two ends.

    They do where the ground between them is narrower across the antimeridian than the other way round.
    """
    latitude = float(np.clip(np.mean([box[1::2] for box in boxes]), -80, 80))
    ends, _ = transform(_DEGREES, chosen, [-179.999, 179.999], [latitude, latitude])
    (step, _), _ = transform(_DEGREES, chosen, [179.998, 179.999], [latitude, latitude])
    if np.isfinite([*ends, step]).all() and abs(ends[0] - ends[1]) <= 100 * abs(ends[1] - step):
        return False  # one place to this CRS
    if any(west > east for west, _, east, _ in boxes):
        return True
    first, _, reached, _ = min(boxes)
    gap = 0.0
    for west, _, east, _ in sorted(boxes):
        gap, reached = max(gap, west - reached), max(reached, east)
    return gap > 360 - (reached - first)
