"""Small scenes on disk for tests: real GeoTIFFs in the layout of the local catalog."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from shapely.geometry import box, mapping

from pipelines.files import sha256
from pipelines.scenes.scene import Band, Scene

UTM_21S = "EPSG:32721"


def write_scene(
    catalog: Path,
    pixels: NDArray[Any],
    *,
    id: str = "scene",
    mask: NDArray[np.uint8] | None = None,
    crs: str = UTM_21S,
    origin: tuple[float, float] = (500_000.0, 9_000_000.0),
    pixel: float = 10.0,
    scale: float = 1e-4,
    offset: float = 0.0,
    nodata: float | None = 0,
    when: datetime = datetime(2024, 7, 1, tzinfo=UTC),
    bands: tuple[str, ...] | None = None,
) -> Scene:
    """Write ``pixels`` ``(bands, height, width)`` below ``catalog`` and return the scene that describes them."""
    count, height, width = pixels.shape
    names = bands or tuple(f"B{i + 1:02d}" for i in range(count))
    transform = Affine(pixel, 0, origin[0], 0, -pixel, origin[1])
    bits = np.zeros((height, width), np.uint8) if mask is None else mask
    folder = catalog / "scenes" / id
    folder.mkdir(parents=True, exist_ok=True)
    grid = {"crs": crs, "transform": transform, "width": width, "height": height}
    grid |= {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with rasterio.open(folder / "image.tif", "w", count=count, dtype=pixels.dtype, nodata=nodata, **grid) as out:
        out.write(pixels)
        out.descriptions = names
    with rasterio.open(folder / "mask.tif", "w", count=1, dtype="uint8", **grid) as out:
        out.write(bits, 1)
    bounds = (origin[0], origin[1] - height * pixel, origin[0] + width * pixel, origin[1])
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
    has_data = (bits & 1) == 0
    return Scene(
        id=id,
        datetime=when,
        image=f"scenes/{id}/image.tif",
        mask=f"scenes/{id}/mask.tif",
        image_sha256=sha256(folder / "image.tif"),
        mask_sha256=sha256(folder / "mask.tif"),
        image_size=(folder / "image.tif").stat().st_size,
        bands=tuple(Band(name=n, units="reflectance", scale=scale, offset=offset) for n in names),
        dtype=str(pixels.dtype),
        nodata=nodata,
        crs=crs,
        transform=tuple(transform)[:6],
        width=width,
        height=height,
        resolution=pixel,
        bbox=(west, south, east, north),
        geometry=mapping(box(west, south, east, north)),
        radiometry="declared by a test",
        nodata_share=float(1 - has_data.mean()),
        cloud_share=float(((bits & 6) > 0)[has_data].mean()) if has_data.any() else 0.0,
        source="test",
    )
