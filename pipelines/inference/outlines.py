"""Objects as files that maps are opened beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from pipelines.config.params import LabelClass
from pipelines.files import replacing
from pipelines.inference.writer import Grid
from pipelines.training.objects import Objects

OBJECTS, OBJECTS_FLATGEOBUF = "objects.parquet", "objects.fgb"


def write_objects(objects: Objects, grid: Grid, classes: Sequence[LabelClass], folder: Path) -> None:
    """Write ``objects.parquet`` and ``objects.fgb`` in the CRS of ``grid``: class_index, class_name, score, geometry.

    On a grid that is turned, boxes are too.
    """
    left, top, right, bottom = objects.boxes.T.astype(np.float64)
    corners = np.stack([(left, top), (right, top), (right, bottom), (left, bottom)]).transpose(2, 0, 1)  # (n, 4, 2)
    affine = grid.affine
    x = affine.a * corners[..., 0] + affine.b * corners[..., 1] + affine.c
    y = affine.d * corners[..., 0] + affine.e * corners[..., 1] + affine.f
    columns = {
        "class_index": objects.classes.astype(np.int64),
        "class_name": np.array([classes[index].name for index in objects.classes], object),
        "score": objects.scores.astype(np.float64).round(4),
    }
    frame = gpd.GeoDataFrame(columns, geometry=shapely.polygons(np.stack([x, y], axis=-1)), crs=grid.crs)
    with replacing(folder / OBJECTS) as draft:
        frame.to_parquet(draft, index=False)
    with replacing(folder / OBJECTS_FLATGEOBUF) as draft:
        frame.to_file(draft, driver="FlatGeobuf", engine="pyogrio", layer="objects", geometry_type="Polygon")
