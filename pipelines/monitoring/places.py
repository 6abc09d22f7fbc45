"""Where a person's labels would teach most: the places of odd scenes at which the model is least sure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import transform_geom
from shapely.geometry import box, mapping

PLACE = 64  # pixels a side of a place
PER_SCENE = 5


def places(maps: Iterable[tuple[str, Path]], most: int = 20) -> dict[str, Any]:
    """Places worth labelling, the least confident first, as a GeoJSON FeatureCollection in degrees.

    ``maps`` holds scene ids and their ``confidence.tif``; a place at which more than half has no data is left out.
    """
    found = [place for scene, path in maps if path.exists() for place in _of_scene(scene, path)]
    found.sort(key=lambda place: (place["properties"]["confidence"], place["properties"]["scene"]))
    return {"type": "FeatureCollection", "features": found[:most]}


def _of_scene(scene: str, confidence: Path) -> list[dict[str, Any]]:
    with rasterio.open(confidence) as source:
        down, across = math.ceil(source.height / PLACE), math.ceil(source.width / PLACE)
        mean = source.read(1, out_shape=(down, across), resampling=Resampling.average, masked=True)
        seen = source.read_masks(1, out_shape=(down, across), resampling=Resampling.average) / 255
        scale = (source.scales[0], source.offsets[0])
        grid = source.transform @ Affine.scale(source.width / across, source.height / down)
        crs = source.crs
    value = np.ma.filled(mean.astype(np.float32), np.inf) * scale[0] + scale[1]
    value = np.where((seen > 0.5) & np.isfinite(value), value, np.inf)
    order = np.argsort(value, axis=None, kind="stable")[:PER_SCENE]
    features = []
    for row, col in zip(*np.unravel_index(order, value.shape), strict=True):
        if not np.isfinite(value[row, col]):
            continue
        (left, top), (right, bottom) = grid @ (col, row), grid @ (col + 1, row + 1)
        square = mapping(box(min(left, right), min(top, bottom), max(left, right), max(top, bottom)))
        features.append(
            {
                "type": "Feature",
                "geometry": transform_geom(crs, "EPSG:4326", square, precision=6),
                "properties": {"scene": scene, "confidence": round(float(value[row, col]), 4)},
            }
        )
    return features
