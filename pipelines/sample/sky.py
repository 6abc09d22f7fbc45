"""What stands between the ground and the sensor: sun, haze, clouds and their shadows, and the swath's edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.noise import Field, fractal
from pipelines.sample.spectra import CLOUD, HAZE


@dataclass(frozen=True)
class Sun:
    """Degrees; the azimuth is from north over east."""

    elevation: float
    azimuth: float


def sun(day: float, latitude: float) -> Sun:
    """The sun at 10:30 local solar time (Cooper's declination, Solar Energy 12, 1969)."""
    declination = np.radians(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
    hour, north = np.radians(-22.5), np.radians(latitude)
    height = np.arcsin(np.sin(north) * np.sin(declination) + np.cos(north) * np.cos(declination) * np.cos(hour))
    east = -np.cos(declination) * np.sin(hour)
    ahead = np.sin(declination) * np.cos(north) - np.cos(declination) * np.sin(north) * np.cos(hour)
    return Sun(float(np.degrees(height)), float(np.degrees(np.arctan2(east, ahead)) % 360))


def relief(slope_east: Field, slope_south: Field, light: Sun) -> Field:
    """How much brighter than level ground each slope is; a terrain correction has left a fifth of it."""
    azimuth, flatness = np.radians(light.azimuth), np.tan(np.radians(light.elevation))
    facing = -slope_east * np.float32(np.sin(azimuth)) + slope_south * np.float32(np.cos(azimuth))
    return np.clip(1 + 0.2 * facing / np.float32(flatness), 0.7, 1.3).astype(np.float32)


@dataclass(frozen=True)
class Sky:
    """Fields ``(size, size)``: shares of a pixel from 0 to 1."""

    cloud: Field
    shadow: Field
    haze: Field
    outside: NDArray[np.bool_]  # beyond the swath: no data

    def over(self, pixels: Field) -> Field:
        """``pixels``, reflectance ``(bands, size, size)``, as seen through this sky."""
        seen = pixels * (1 - 0.62 * self.shadow * (1 - self.cloud))
        seen += self.haze * (HAZE[:, None, None] - seen)
        seen += self.cloud * (CLOUD[:, None, None] * (0.75 + 0.35 * self.cloud) - seen)
        return np.asarray(seen, np.float32)


def make_sky(rng: np.random.Generator, size: int, light: Sun) -> Sky:
    """Clouds over a seventh of the sky on average, their shadows, thin haze, and on half of the dates an edge."""
    cover = float(rng.beta(1.2, 7.0))
    share, mirrored, beyond = float(rng.uniform(0.04, 0.3)), rng.random() < 0.5, rng.random() < 0.5
    height = float(rng.uniform(60, 130))  # pixels above the ground
    thick, veil = fractal(rng, size, slope=2.9, longest=170), fractal(rng, size, slope=3.0, longest=300)

    cloud = np.zeros((size, size), np.float32)
    if cover > 0.03:
        cloud = np.clip((thick - np.quantile(thick, 1 - cover)) / np.float32(0.35), 0, 1)
    reach, azimuth = height / np.tan(np.radians(light.elevation)), np.radians(light.azimuth)
    cast = (round(reach * np.cos(azimuth)), round(-reach * np.sin(azimuth)))  # south, east
    shadow = np.roll(cloud, cast, axis=(0, 1))  # fractal fields repeat, so what leaves comes in
    haze = np.clip(rng.uniform(0.0, 0.05) + 0.015 * veil, 0, 0.15).astype(np.float32)

    steps = np.arange(size)
    edge = (1 - share) * size + 0.21 * (size / 2 - steps)  # the orbit leans 12 degrees off the meridian
    outside = (steps[None, :] > edge[:, None]) & beyond
    return Sky(cloud, np.sqrt(shadow), haze, outside[::-1, ::-1] if mirrored else outside)
