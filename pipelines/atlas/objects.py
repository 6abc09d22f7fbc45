"""Objects that a detector found, from the FlatGeobuf beside its map, of which only those in view are read."""

from __future__ import annotations

from typing import NamedTuple

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.warp import transform, transform_bounds

from pipelines.atlas.layers import Atlas, Bounds
from pipelines.inference.outlines import OBJECTS_FLATGEOBUF
from pipelines.scenes.scene import Scene

_DEGREES = CRS.from_epsg(4326)
_LEAST = 3.0  # pixels across, below which an object is drawn as a dot
_LINE = 2.0  # pixels of an outline


class Object(NamedTuple):
    """One that lies at a place."""

    name: str
    score: float  # 0 to 1


def objects_at(atlas: Atlas, version: int, scene: Scene, longitude: float, latitude: float) -> tuple[Object, ...]:
    """Objects of a version's map of ``scene`` that a place in degrees lies in, the surest first."""
    if version not in atlas.detectors:
        return ()
    (x,), (y,) = transform(_DEGREES, CRS.from_user_input(scene.crs), [longitude], [latitude])
    found = _read(atlas, version, scene, (x, y, x, y))
    found = found[found.intersects(shapely.Point(x, y))].sort_values("score", ascending=False)
    return tuple(Object(row.class_name, row.score) for row in found.itertuples())


def drawn(
    atlas: Atlas,
    version: int,
    scene: Scene,
    part: Bounds,
    crs: CRS,
    corner: tuple[float, float],
    step: float,
    side: int,
) -> NDArray[np.uint8]:
    """Outlines ``(side, side)`` of objects of ``scene`` in ``part``, a box in degrees: class indices, and 0 elsewhere.

    ``corner`` is the picture's west and north in ``crs``, ``step`` a pixel. What is sure lies over what is less so.
    """
    found = _read(atlas, version, scene, transform_bounds(_DEGREES, CRS.from_user_input(scene.crs), *part))
    found = found.to_crs(crs).sort_values("score")
    shapes, kinds = found.geometry.to_numpy(), found["class_index"].to_numpy(np.uint8)
    shapes = shapely.transform(shapes, lambda xy: (xy - corner) / (step, -step))  # to pixels
    picture = np.zeros((side, side), np.uint8)
    left, top, right, bottom = shapely.bounds(shapes).T
    small = np.maximum(right - left, bottom - top) < _LEAST
    columns, rows = (np.floor((a + b)[small] / 2).astype(int) for a, b in ((left, right), (top, bottom)))
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    picture[rows[inside], columns[inside]] = kinds[small][inside]
    lines = shapely.buffer(shapely.boundary(shapes[~small]), _LINE / 2, cap_style="square", join_style="mitre")
    if len(lines):
        rasterize(zip(lines, kinds[~small], strict=True), out=picture)
    return picture


def _read(atlas: Atlas, version: int, scene: Scene, bounds: Bounds) -> gpd.GeoDataFrame:
    """Those that touch ``bounds``, in the scene's CRS."""
    return gpd.read_file(atlas.map_file(version, scene.id, OBJECTS_FLATGEOBUF), bbox=bounds, engine="pyogrio")
