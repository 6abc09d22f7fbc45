"""A scene's pixels: the ground on a date, through the sky, onto the sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.sample.acquisition import Acquisition
from pipelines.sample.drift import displaced, drifted
from pipelines.sample.ground import Ground
from pipelines.sample.mixture import reflectance
from pipelines.sample.noise import Field, stream
from pipelines.sample.sky import Sky, make_sky, relief, sun
from pipelines.sample.spectra import BANDS

NODATA, SHADOW, VEGETATION, BARE, WATER, CLOUD_MEDIUM, CLOUD_HIGH = 0, 3, 4, 5, 6, 8, 9
_COARSE = tuple(BANDS.index(b) for b in ("B11", "B12"))  # measured at 20 m


@dataclass(frozen=True)
class Picture:
    """``pixels`` ``(bands, size, size)`` uint16, 0 only where there is no data; ``scl`` ``(size, size)`` uint8."""

    pixels: NDArray[np.uint16]
    scl: NDArray[np.uint8]

    @property
    def cloud_cover(self) -> float:
        """Percent of the pixels with data."""
        clouds = (self.scl == CLOUD_MEDIUM) | (self.scl == CLOUD_HIGH)
        return float(100 * clouds.sum() / max(1, (self.scl != NODATA).sum()))

    @property
    def nodata_share(self) -> float:
        return float((self.scl == NODATA).mean())


def render(seed: int, ground: Ground, look: Acquisition) -> Picture:
    """What the sensor delivers. Without its drift the same look gives the same sky and the same noise."""
    origin = (look.place.name, "scene", look.index)
    day = look.day + 182 * look.drift.amount("season")
    light = sun(look.day, look.place.latitude)
    sky = make_sky(stream(seed, *origin, "sky"), ground.size, light)

    land = reflectance(ground, day) * relief(ground.slope_east, ground.slope_south, light)
    seen = sensed(sky.over(land), stream(seed, *origin, "sensor"))
    seen = drifted(seen, look.drift, stream(seed, *origin, "drift"))
    numbers = np.rint(seen * 10000 + (look.offset - 1000 * look.drift.amount("offset")))
    pixels = np.clip(numbers, 1, 65535).astype(np.uint16)
    pixels, scl = displaced(pixels, look.drift), displaced(_classified(land, sky), look.drift)
    pixels[:, sky.outside] = 0
    scl[sky.outside] = NODATA
    return Picture(pixels, scl)


def sensed(pixels: Field, rng: np.random.Generator) -> Field:
    """Reflectance ``(bands, size, size)`` after the instrument's blur, calibration error of a percent, and noise."""
    seen = np.empty_like(pixels)
    for band, (source, target) in enumerate(zip(pixels, seen, strict=True)):
        ndimage.gaussian_filter(source, 0.9 if band in _COARSE else 0.5, output=target, truncate=2.5)
        if band in _COARSE and source.shape[0] % 2 == 0:
            size = source.shape[0] // 2
            target[:] = target.reshape(size, 2, size, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
        target *= np.float32(1 + 0.012 * rng.standard_normal())
        target += (0.002 + 0.012 * target) * rng.standard_normal(target.shape, dtype=np.float32)
    return seen


def _classified(land: Field, sky: Sky) -> NDArray[np.uint8]:
    """The scene classification as its algorithm sees it, without a border to what it misses."""
    green, red, infrared = (land[BANDS.index(b)] for b in ("B03", "B04", "B08"))
    scl = np.full(red.shape, BARE, np.uint8)
    scl[(infrared - red) > 0.35 * (infrared + red)] = VEGETATION
    scl[green > infrared] = WATER
    scl[sky.shadow > 0.35] = SHADOW
    scl[sky.cloud > 0.15] = CLOUD_MEDIUM
    scl[sky.cloud > 0.55] = CLOUD_HIGH
    return scl
