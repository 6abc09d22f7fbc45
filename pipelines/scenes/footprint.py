"""Where on Earth a raster lies, as GeoJSON has it."""

from __future__ import annotations

import math
from typing import Any

import antimeridian
import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as reproject
from shapely.geometry import Polygon, box, mapping

from pipelines.errors import BadData
from pipelines.scenes.area import Bounds

_SIDE = 21  # points along each side, since straight lines bend between projections


def footprint(crs: Any, transform: Affine, width: int, height: int, what: str) -> tuple[dict[str, Any], Bounds]:
    """The outline of a raster in degrees, and its west, south, east, north.

    Over the antimeridian the outline is cut in two and west is greater than east (RFC 7946, 3.1.9 and 5.2). Raises
    ``BadData`` where the raster has no place on Earth, such as metres under the code of a CRS in degrees.
    """
    share = np.linspace(0, 1, _SIDE)[:-1]
    zero, one = np.zeros(len(share)), np.ones(len(share))
    columns = np.concatenate([zero, share, one, 1 - share]) * width  # down the left side first: anticlockwise on a map
    rows = np.concatenate([share, one, 1 - share, zero]) * height
    x, y = transform @ (columns, rows)
    try:
        longitudes, latitudes = reproject(crs, "EPSG:4326", x.tolist(), y.tolist())
    except Exception as error:  # GDAL's own classes are private to rasterio
        raise BadData(f"{what} is in a CRS that cannot be placed on Earth ({error}); correct it.") from error
    if not all(map(math.isfinite, (*longitudes, *latitudes))) or not all(-90.01 <= y <= 90.01 for y in latitudes):
        raise BadData(f"{what} has coordinates that its CRS does not know ({x[0]:g}, {y[0]:g}); correct its CRS.")
    outline = antimeridian.fix_polygon(Polygon(zip(longitudes, latitudes, strict=True)), fix_winding=True)
    west, south, east, north = antimeridian.bbox(outline)
    around = abs(transform.a) * width >= 360 - 1e-6  # its left side and its right side are one
    if around and CRS.from_user_input(crs).is_geographic:
        west, east = -180.0, 180.0
        outline = box(west, south, east, north)
    return mapping(outline), (west, south, east, north)
