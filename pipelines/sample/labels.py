"""Labels as a vector file: every pixel of the labelled places lies in one polygon of its class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from rasterio.features import shapes

from pipelines.files import replacing
from pipelines.sample.acquisition import PIXEL, Place
from pipelines.sample.ground import Cover, Ground

_STRAIGHT = 500.0  # metres; a longer edge that is straight in UTM would bend visibly in degrees


def label_table(grounds: Mapping[Place, Ground]) -> gpd.GeoDataFrame:
    """Columns ``class``, ``place`` and ``geometry`` (EPSG:4326): touching pixels of one class, dissolved."""
    tables = [_polygons(place, ground) for place, ground in grounds.items()]
    table = tables[0] if len(tables) == 1 else gpd.GeoDataFrame(gpd.pd.concat(tables, ignore_index=True))
    return table.set_crs("EPSG:4326", allow_override=True)


def write_labels(target: Path, table: gpd.GeoDataFrame) -> None:
    """Write a GeoPackage, the same bytes for the same table: the time in it is fixed."""
    former = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2022-01-25T00:00:00.000Z"})
    try:
        with replacing(target) as draft:
            draft.parent.mkdir(parents=True, exist_ok=True)
            pyogrio.write_dataframe(table, draft, layer="labels", driver="GPKG", geometry_type="Unknown")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": former})


def _polygons(place: Place, ground: Ground) -> gpd.GeoDataFrame:
    transform = Affine(PIXEL, 0, place.east, 0, -PIXEL, place.north)
    found = [
        (shapely.geometry.shape(outline), int(value)) for outline, value in shapes(ground.cover, transform=transform)
    ]
    outlines = shapely.segmentize(np.array([outline for outline, _ in found]), _STRAIGHT)
    names = [Cover(value).label for _, value in found]
    table = gpd.GeoDataFrame({"class": names, "place": place.name}, geometry=outlines, crs=place.epsg).to_crs(
        "EPSG:4326"
    )
    table["geometry"] = shapely.make_valid(table.geometry.to_numpy(), method="structure", keep_collapsed=False)
    return table
