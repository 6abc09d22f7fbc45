"""Scenes that are small on disk and would fill memory, disk or a day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from tests.hostile.cases import Corpus
from tests.hostile.scenes import Item
from tests.scenes.sources import CRS, ORIGIN, item, write_band

SIZES = Corpus()


def _empty(folder: Path, id: str, side: int, **profile: Any) -> Item:
    """Of files that say how large they are and hold nothing."""
    folder.mkdir(parents=True)
    full = {"driver": "GTiff", "count": 1, "width": side, "height": side, "crs": CRS, "SPARSE_OK": True}
    full |= {"transform": from_origin(*ORIGIN, 10, 10), "compress": "deflate", "BIGTIFF": "YES", "dtype": "uint16"}
    for band in ("B02", "B03", "B11", "SCL"):
        kind = {"dtype": "uint8"} if band == "SCL" else {}
        with rasterio.open(folder / f"{band}.tif", "w", **full | profile | kind):
            pass
    return item(id, {band: folder / f"{band}.tif" for band in ("B02", "B03", "B11", "SCL")})


@SIZES.refused("claims 100000 x 100000 pixels and holds 0 bytes")
def sparse(folder: Path, id: str) -> Item:
    return _empty(folder, id, 100_000, tiled=True, blockxsize=512, blockysize=512)


@SIZES.refused("over the limit of 1e\\+10")
def more_pixels_than_fit(folder: Path, id: str) -> Item:
    return _empty(folder, id, 400_000, tiled=True, blockxsize=4096, blockysize=4096)


@SIZES.refused("stored in blocks of 60000 x 60000 pixels")
def one_strip(folder: Path, id: str) -> Item:
    return _empty(folder, id, 60_000, blockysize=60_000)


@SIZES.refused("claims 40000 x 40000 pixels")
def deflated_zeros(folder: Path, id: str) -> Item:
    """The blocks are there, and each is a thousand times larger than it looks."""
    made = _empty(folder, id, 40_000, tiled=True, blockxsize=8192, blockysize=8192)
    for band in ("B02", "B03", "B11"):
        with rasterio.open(folder / f"{band}.tif", "r+") as out:
            out.write(np.full((8192, 8192), 1500, np.uint16), 1, window=rasterio.windows.Window(0, 0, 8192, 8192))
    return made


@SIZES.refused("stored in blocks|cannot be read")
def mask_in_one_strip(folder: Path, id: str) -> Item:
    made = _empty(folder, id, 64)
    for band in ("B02", "B03", "B11"):
        write_band(folder / f"{band}.tif", np.full((64, 64), 1500, np.uint16))
    made["assets"]["SCL"]["href"] = _empty(folder / "mask", id, 40_000, blockysize=40_000)["assets"]["SCL"]["href"]
    return made
