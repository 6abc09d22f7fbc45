"""The area asked for, in degrees and as a window of a raster. West greater than east spans the antimeridian."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import antimeridian
import shapely
from rasterio.warp import transform_bounds
from rasterio.windows import Window, from_bounds
from shapely.errors import GEOSException
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry

from pipelines.errors import BadData

Bounds = tuple[float, float, float, float]


def bounds_of(area: Bounds | Path | None) -> Bounds | None:
    """West, south, east, north in degrees of ``area``, which may be a GeoJSON file. Raises ``BadData``."""
    if area is None:
        return None
    if isinstance(area, Path):
        west, south, east, north = antimeridian.bbox(_geojson(area))
        return _checked((west, south, east, north), str(area))
    return _checked(area, "the area")


def parse(text: str) -> Bounds:
    """``W,S,E,N`` as written on a command line."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise BadData(f"The area {text!r} must be four numbers in degrees: west,south,east,north.") from None
    return _checked((west, south, east, north), "the area")


def intersects(area: Bounds | None, geometry: dict[str, Any] | None) -> bool:
    """Whether a footprint in degrees meets ``area``; an unknown footprint or no area counts as meeting it."""
    if area is None or geometry is None:
        return True
    try:
        west, south, east, north = area
        boxes = [box(*area)] if west < east else [box(west, south, 180, north), box(-180, south, east, north)]
        return any(part.intersects(shape(geometry)) for part in boxes)
    except (GEOSException, ValueError, TypeError, KeyError, AttributeError):
        return True  # a broken footprint is no reason to pass over the pixels; they have their own


def window_of(area: Bounds | None, dataset: Any, href: str) -> Window:
    """The whole pixels of an open raster that meet ``area``. Raises ``BadData`` if there are none."""
    whole = Window(0, 0, dataset.width, dataset.height)
    if area is None:
        return whole
    bounds = transform_bounds("EPSG:4326", dataset.crs, *area, densify_pts=21)
    wanted = from_bounds(*bounds, transform=dataset.transform)
    first_row, first_column = max(0, math.floor(wanted.row_off)), max(0, math.floor(wanted.col_off))
    last_row = min(dataset.height, math.ceil(wanted.row_off + wanted.height))
    last_column = min(dataset.width, math.ceil(wanted.col_off + wanted.width))
    if first_row >= last_row or first_column >= last_column:
        raise BadData(f"{href} has no pixels in the area {area}; its footprint in the catalog is wrong.")
    return Window(first_column, first_row, last_column - first_column, last_row - first_row)


def _geojson(path: Path) -> BaseGeometry:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        geometry = shapely.from_geojson(json.dumps(content))
    except (OSError, ValueError, GEOSException) as error:
        raise BadData(
            f"{path} cannot be read as GeoJSON ({error}); name a GeoJSON file in params.scenes.area."
        ) from error
    if geometry is None or geometry.is_empty:
        raise BadData(f"{path} holds no geometry; draw the area, in degrees.")
    return geometry


def _checked(bounds: Bounds, where: str) -> Bounds:
    west, south, east, north = bounds
    if not (-180 <= west <= 180 and -180 <= east <= 180 and west != east and -90 <= south < north <= 90):
        raise BadData(
            f"{where} is {bounds}; it must be west, south, east, north in degrees, with west < east but over the "
            "antimeridian."
        )
    return (west, south, east, north)
