"""A scene as every later stage sees it, and the bits of its mask."""

from __future__ import annotations

from datetime import datetime
from enum import IntFlag
from pathlib import Path
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.depot import brought


class MaskBit(IntFlag):
    """Why a pixel is left out of loss, metrics and statistics; 0 is a usable, labelled pixel."""

    NODATA = 1
    CLOUD = 2
    SHADOW = 4
    UNLABELLED = 8  # set when labels are burned; never in a scene's own mask


UNMEASURED = 1e30  # what is as large, as the fill of many float files, is no measurement


def without_data(pixels: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Where ``(bands, rows, columns)`` hold no data, ``(rows, columns)``: where a band has the value ``nodata``.

    In bytes every value occurs in images too, black or white in one band of a picture, so there all bands must have it.
    """
    same = np.isnan(pixels) if np.isnan(nodata) else pixels == nodata
    found: NDArray[np.bool_] = same.all(axis=0) if pixels.dtype == np.uint8 else same.any(axis=0)
    return found


class Band(BaseModel):
    """One band: physical value = pixel * ``scale`` + ``offset``, in ``units``."""

    model_config = ConfigDict(frozen=True)

    name: str
    units: str
    scale: float
    offset: float


class Scene(BaseModel):
    """An ingested scene. ``image`` and ``mask`` are relative to the project's catalog folder.

    The image is a COG of shape ``(bands, height, width)`` in ``dtype``; the mask a COG of shape ``(height, width)``,
    uint8, bits of ``MaskBit``. ``transform`` holds the six numbers of an ``affine.Affine``.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    datetime: datetime
    image: str
    mask: str
    image_sha256: str
    mask_sha256: str
    image_size: int  # bytes
    bands: tuple[Band, ...]
    dtype: str
    nodata: float | Literal["nan"] | None
    crs: str  # "EPSG:32721", or WKT where there is no code
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    corner: tuple[int, int] = (0, 0)  # column and row at which it begins in the source's image, where an area cuts it
    resolution: float  # metres on the ground at the scene's centre, mean of both axes
    bbox: tuple[float, float, float, float]  # degrees: west, south, east, north; west > east over the antimeridian
    geometry: dict[str, Any]  # GeoJSON footprint in degrees
    baseline: str | None = None  # processing baseline, where the source states it
    radiometry: str  # how scale and offset were settled, one sentence
    clouds: str | None = None  # how cloud and shadow were found, one sentence; None: nobody looked for them
    nodata_share: float
    cloud_share: float  # cloud and shadow, of the pixels that have data
    source: str  # href of the item or file that it came from

    @property
    def affine(self) -> Affine:
        return Affine(*self.transform)

    @property
    def season(self) -> str:
        """Meteorological season on the scene's own hemisphere: winter, spring, summer or autumn."""
        seasons = ("winter", "spring", "summer", "autumn")
        south = (self.bbox[1] + self.bbox[3]) / 2 < 0
        return seasons[(self.datetime.month % 12 // 3 + (2 if south else 0)) % 4]

    @property
    def zone(self) -> str:
        """UTM zone of the footprint's centre, such as ``21S``."""
        west, _, east, _ = self.bbox
        longitude = (west + east + (360 if west > east else 0)) / 2
        hemisphere = "N" if (self.bbox[1] + self.bbox[3]) / 2 >= 0 else "S"
        return f"{int((longitude + 180) // 6) % 60 + 1:02d}{hemisphere}"

    def physical(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels ``(bands, height, width)`` in physical units, float32. Masked pixels are converted like the rest."""
        scale = np.array([b.scale for b in self.bands], np.float32)[:, None, None]
        offset = np.array([b.offset for b in self.bands], np.float32)[:, None, None]
        return pixels.astype(np.float32) * scale + offset

    def image_path(self, catalog: Path) -> Path:
        return brought(Path(catalog) / self.image)

    def mask_path(self, catalog: Path) -> Path:
        return brought(Path(catalog) / self.mask)
