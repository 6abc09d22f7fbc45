"""A class map as polygons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import rasterio
import rasterio.features
import shapely
from shapely.geometry import MultiPolygon, shape
from shapely.geometry.base import BaseGeometry

from pipelines.config.params import LabelClass
from pipelines.files import replacing
from pipelines.inference.layers import NODATA

POLYGONS, FLATGEOBUF = "classes.parquet", "classes.fgb"


def write_polygons(maps: Path, folder: Path, classes: Sequence[LabelClass], simplify: float = 0.0) -> int:
    """Write valid polygons, one for each connected patch of a class, in the CRS of the map ``maps``, into ``folder`` as
    GeoParquet and as FlatGeobuf. Returns how many there are.

    Columns: ``class_index``, ``class_name``, ``geometry``. With ``simplify``, in pixels, outlines lose the corners of
    triangles of up to that size squared (Visvalingam and Whyatt 1993); what two patches share stays shared, so no gap
    and no overlap arises. Pixels are read by rows, the polygons are held in memory.
    """
    indices: list[int] = []
    geometries: list[BaseGeometry] = []
    with rasterio.open(maps) as source:
        for geometry, value in rasterio.features.shapes(rasterio.band(source, 1), transform=source.transform):
            if int(value) != NODATA:
                indices.append(int(value))
                geometries.append(shape(geometry))
        crs, side = source.crs, abs(source.transform.determinant) ** 0.5
    if simplify and geometries:
        geometries = list(shapely.coverage_simplify(geometries, simplify * side))
    geometries = [_polygonal(shapely.make_valid(geometry)) for geometry in geometries]
    columns = {"class_index": indices, "class_name": [classes[i].name for i in indices]}
    frame = gpd.GeoDataFrame(columns, geometry=geometries, crs=crs)
    with replacing(folder / POLYGONS) as draft:
        frame.to_parquet(draft, index=False)
    with replacing(folder / FLATGEOBUF) as draft:
        frame.to_file(draft, driver="FlatGeobuf", engine="pyogrio", layer="classes", promote_to_multi=True)
    return len(indices)


def _polygonal(geometry: BaseGeometry) -> BaseGeometry:
    if geometry.geom_type != "GeometryCollection":
        return geometry
    return MultiPolygon([part for part in geometry.geoms if part.geom_type == "Polygon"])
