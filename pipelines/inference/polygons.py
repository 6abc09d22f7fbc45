"""A class map as polygons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import rasterio
import rasterio.features
from shapely import make_valid
from shapely.geometry import MultiPolygon, shape
from shapely.geometry.base import BaseGeometry

from pipelines.config.params import LabelClass
from pipelines.files import replacing
from pipelines.inference.layers import NODATA

POLYGONS = "classes.parquet"


def write_polygons(maps: Path, target: Path, classes: Sequence[LabelClass]) -> int:
    """Write a GeoParquet of valid polygons, one for each connected patch of a class, in the CRS of the map.

    Columns: ``class_index``, ``class_name``, ``geometry``. Pixels are read by rows, the polygons are held in memory.
    Returns how many there are.
    """
    indices: list[int] = []
    geometries: list[BaseGeometry] = []
    with rasterio.open(maps) as source:
        for geometry, value in rasterio.features.shapes(rasterio.band(source, 1), transform=source.transform):
            if int(value) != NODATA:
                indices.append(int(value))
                geometries.append(_polygonal(make_valid(shape(geometry))))
        crs = source.crs
    columns = {"class_index": indices, "class_name": [classes[i].name for i in indices]}
    with replacing(target) as draft:
        gpd.GeoDataFrame(columns, geometry=geometries, crs=crs).to_parquet(draft, index=False)
    return len(indices)


def _polygonal(geometry: BaseGeometry) -> BaseGeometry:
    if geometry.geom_type != "GeometryCollection":
        return geometry
    return MultiPolygon([part for part in geometry.geoms if part.geom_type == "Polygon"])
