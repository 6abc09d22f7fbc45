"""A place for images that have none, such as those of a benchmark for classification."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from pipelines.errors import BadData

_ZONES = 60
_EAST, _NORTH = 400, 8000  # places of a zone, a kilometre apart, where its scale is near 1
_APART = 1000.0  # metres
_MOST = 2**30  # bytes of pixels, which are read at once


def place_for(dataset: Any, resolution: float) -> tuple[CRS, Affine]:
    """CRS and transform of an image without georeference, ``resolution`` metres a pixel, in a UTM zone of the north.

    The place follows from the pixels alone: equal images lie on the same ground, whatever their names are, so a split
    never has one on both of its sides; different ones lie apart but for one pair in a hundred million. Raises
    ``BadData`` for an image that does not fit into memory.
    """
    size = dataset.count * dataset.width * dataset.height * np.dtype(dataset.dtypes[0]).itemsize
    if size > _MOST:
        raise BadData(f"{dataset.name} is too large to be placed ({size / 2**30:.1f} GiB of pixels); georeference it.")
    pixels: np.ndarray = dataset.read()
    lot = int.from_bytes(hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()[:16], "big")
    lot, zone = divmod(lot, _ZONES)
    lot, east = divmod(lot, _EAST)
    north = lot % _NORTH
    origin = (300_000 + east * _APART, (north + 1) * _APART)
    return CRS.from_epsg(32601 + zone), Affine(resolution, 0, origin[0], 0, -resolution, origin[1])
