"""The area asked for, in degrees. West greater than east spans the antimeridian."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import antimeridian
import shapely
from shapely.errors import GEOSException
from shapely.geometry import MultiPolygon, box, shape
from shapely.geometry.base import BaseGeometry

from pipelines.errors import BadData

Bounds = tuple[float, float, float, float]


def bounds_of(area: Bounds | Path | None) -> Bounds | None:
    """West, south, east, north in degrees of ``area``, which may be a GeoJSON file. Raises ``BadData``."""
    if area is None:
        return None
    if isinstance(area, Path):
        return _checked(_drawn(area), str(area))
    return _checked(area, "the area")


def parse(text: str) -> Bounds:
    """``W,S,E,N`` as written on a command line."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise BadData(f"The area {text!r} must be four numbers in degrees: west,south,east,north.") from None
    return _checked((west, south, east, north), "the area")


def parts(area: Bounds) -> list[Bounds]:
    """``area`` as boxes none of which spans the antimeridian."""
    west, south, east, north = area
    return [area] if west < east else [(west, south, 180.0, north), (-180.0, south, east, north)]


def intersects(area: Bounds | None, geometry: dict[str, Any] | None) -> bool:
    """Whether a footprint in degrees meets ``area``; an unknown footprint or no area counts as meeting it."""
    if area is None or geometry is None:
        return True
    try:
        return any(box(*part).intersects(shape(geometry)) for part in parts(area))
    except (GEOSException, ValueError, TypeError, KeyError, AttributeError):
        return True  # a broken footprint is no reason to pass over the pixels; they have their own


def _drawn(path: Path) -> Bounds:
    """The bounds of all shapes of a GeoJSON file. Raises ``BadData`` if there is none."""
    geometry = _geojson(path)
    west, south, east, north = map(float, geometry.bounds)
    if west < -180 or east > 180:  # drawn on beyond the antimeridian, as 170 to 190
        return (west + 180) % 360 - 180, south, (east + 180) % 360 - 180, north
    pieces = [one for many in shapely.get_parts(geometry) for one in shapely.get_parts(many)]
    if all(piece.geom_type == "Polygon" for piece in pieces):  # or cut in two there
        west, south, east, north = antimeridian.bbox(MultiPolygon(pieces))
    return west, south, east, north


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
