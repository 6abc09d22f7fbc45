"""Pictures in a drift report show the bands that their names tell."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from pipelines.monitoring.pictures import quicklook


@pytest.mark.parametrize("names", [("B02", "B03", "B04", "B08"), ("B08", "B04", "B03", "B02")])
def test_red_is_red_whatever_the_order_of_the_files_bands(tmp_path: Path, names: tuple[str, ...]) -> None:
    pixels = np.full((4, 64, 64), 500, np.uint16)
    pixels[names.index("B04")] = np.linspace(100, 3000, 64, dtype=np.uint16)
    grid = {"crs": "EPSG:32721", "transform": from_origin(500_000, 9_000_000, 10, 10), "nodata": 0}
    with rasterio.open(tmp_path / "image.tif", "w", width=64, height=64, count=4, dtype="uint16", **grid) as out:
        out.write(pixels)
        out.descriptions = names
    address = quicklook(tmp_path / "image.tif")
    assert address is not None
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGB"))
    varied = shown.reshape(-1, 3).std(axis=0)
    assert varied[0] > 20 and varied[1] == varied[2] == 0
