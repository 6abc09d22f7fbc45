"""Sentinel-2-like sources for tests: single-band GeoTIFFs of two resolutions under a static STAC catalog."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from shapely.geometry import box, mapping

from pipelines.config.params import Scenes

ORIGIN = (600_000.0, 9_000_000.0)
CRS = "EPSG:32721"
SIZE = 256


def reflectances(size: int = SIZE, seed: int = 0) -> NDArray[np.float64]:
    """Three bands ``(3, size, size)`` of reflectance: water at 0.02 to 0.05 in a quarter, land elsewhere."""
    random = np.random.default_rng(seed)
    image = random.uniform(0.05, 0.4, (3, size, size))
    image[:, : size // 2, : size // 2] = random.uniform(0.02, 0.05, (3, size // 2, size // 2))
    return image


def write_band(path: Path, pixels: NDArray[Any], *, pixel: float = 10, **profile: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    full = {"driver": "GTiff", "count": 1, "dtype": pixels.dtype, "height": pixels.shape[0], "width": pixels.shape[1]}
    full |= {"crs": CRS, "transform": from_origin(*ORIGIN, pixel, pixel), "tiled": True, "blockxsize": 128}
    full |= {"blockysize": 128, "compress": "deflate"}
    with rasterio.open(path, "w", **full | profile) as out:
        out.write(pixels, 1)
    return path


def write_scene_files(
    folder: Path, *, offset: int = 0, seed: int = 0, size: int = SIZE, scl: NDArray[np.uint8] | None = None
) -> dict[str, Path]:
    """B02 and B03 at 10 m, B11 at 20 m, SCL at 20 m; DN = reflectance * 10000 - ``offset``; the first 16 rows are 0."""
    dn = np.round(reflectances(size, seed) * 10_000 - offset).astype(np.uint16)
    dn[:, :16] = 0
    classes = np.full((size // 2, size // 2), 4, np.uint8) if scl is None else scl
    return {
        "B02": write_band(folder / "B02.tif", dn[0]),
        "B03": write_band(folder / "B03.tif", dn[1]),
        "B11": write_band(folder / "B11.tif", dn[2, ::2, ::2], pixel=20),
        "SCL": write_band(folder / "SCL.tif", classes, pixel=20),
    }


def item(id: str, hrefs: dict[str, Any], *, when: str = "2024-07-01T14:00:00Z", **properties: Any) -> dict[str, Any]:
    west, south, east, north = transform_bounds(
        CRS, "EPSG:4326", ORIGIN[0], ORIGIN[1] - SIZE * 10, ORIGIN[0] + SIZE * 10, ORIGIN[1]
    )
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": id,
        "collection": "s2",
        "geometry": mapping(box(west, south, east, north)),
        "bbox": [west, south, east, north],
        "properties": {"datetime": when, "eo:cloud_cover": 5.0, "s2:processing_baseline": "05.09"} | properties,
        "assets": {key: {"href": str(href), "type": "image/tiff; application=geotiff"} for key, href in hrefs.items()},
        "links": [{"rel": "collection", "href": "./collection.json"}],
    }


def write_catalog(folder: Path, items: list[dict[str, Any]]) -> Path:
    """A static catalog of ``items``; each file is named by its position, so that hostile ids can be written."""
    links = []
    for number, document in enumerate(items):
        name = f"item{number}.json"
        (folder / name).write_text(json.dumps(document | {"links": []}))
        links.append({"rel": "item", "href": f"./{name}"})
    catalog = {"type": "Catalog", "id": "source", "stac_version": "1.0.0", "description": "test", "links": links}
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return folder / "catalog.json"


def params(source: Path | str, **changes: Any) -> Scenes:
    """Parameters for such a source."""
    return Scenes.model_validate(
        {
            "source": str(source),
            "assets": ["B02", "B03", "B11"],
            "bands": ["B02", "B03", "B11"],
            "nodata": 0,
            "radiometry": {"kind": "sentinel2", "units": "reflectance"},
            "cloud_mask": {"asset": "SCL", "cloud": [8, 9], "shadow": [3]},
            "shard": 2,
            "max_cloud": 80,
            "checks": {"max_nodata": 0.95, "value_range": [-0.2, 2.0]},
        }
        | changes
    )
