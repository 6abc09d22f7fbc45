"""Real imagery as looks, from the folder that ``SWATH_DATA`` names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio

from benchmarks.drifting.look import DISPLAY, IGNORE, REFLECTANCE, Look
from pipelines.scenes.scene import MaskBit

AMAZON, NAIP, CALIFORNIA = "amazon-forest-s2", "naip-prairie-pothole", "california-burn-s2"
_RGB = ("red", "green", "blue")
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def amazon(data: Path, side: int) -> list[Look]:
    """33 labelled tiles, each of another place; dates are not known, so they come in the order of their names."""
    found = []
    for number, path in enumerate(sorted((data / AMAZON / "masks").glob("*.tif"))):
        with rasterio.open(data / AMAZON / "images" / path.name) as image, rasterio.open(path) as truth:
            pixels, labels = image.read()[:, :side, :side], truth.read(1)[:side, :side]
        known = np.where(labels > 0, labels - 1, IGNORE).astype(np.uint8)
        found.append(_look(path.stem, path.stem, _FIRST + timedelta(days=number), _RGB, pixels, known, DISPLAY))
    return found


def naip(data: Path) -> list[Look]:
    """Five dates of one place, no labels."""
    found = []
    for path in sorted((data / NAIP).glob("*.tif")):
        with rasterio.open(path) as image:
            pixels = image.read()[:, :920, :720]
        when = datetime.strptime(path.stem[-8:], "%Y%m%d").replace(tzinfo=UTC)
        labels = np.full(pixels.shape[1:], IGNORE, np.uint8)
        found.append(_look(path.stem, "the field", when, (*_RGB, "nir"), pixels, labels, DISPLAY))
    return found


def california(data: Path) -> list[Look]:
    """14 fires: infrared reflectance, and the bands of true colour brought to about the same unit."""
    found = []
    for path in sorted((data / CALIFORNIA / "images").glob("*.tif")):
        with rasterio.open(path) as image, rasterio.open(data / CALIFORNIA / "masks" / path.name) as truth:
            raw, labels = image.read()[:, :225, :225], truth.read(1)[:225, :225]
        scale = np.array([1 / DISPLAY] * 3 + [1e-4] * 2)[:, None, None]
        bands = (*_RGB, "nir", "swir22")
        when = datetime.strptime(path.stem[-8:], "%Y%m%d").replace(tzinfo=UTC)
        found.append(_look(path.stem, path.stem, when, bands, raw * scale, labels.astype(np.uint8), REFLECTANCE))
    return found


def _look(
    name: str, place: str, when: datetime, bands: tuple[str, ...], pixels: np.ndarray, labels: np.ndarray, unit: float
) -> Look:
    missing = ~np.isfinite(pixels).all(axis=0) | (pixels == 0).all(axis=0)
    return Look(
        id=name,
        place=place,
        season="any",
        zone="any",
        datetime=when,
        bands=bands,
        pixels=np.nan_to_num(pixels).astype(np.float32),
        mask=np.where(missing, np.uint8(MaskBit.NODATA), np.uint8(0)),
        labels=np.where(missing, np.uint8(IGNORE), labels).astype(np.uint8),
        unit=unit,
    )
