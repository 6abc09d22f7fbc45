"""The ground of one place: which class lies where, and what its pixels are made of beyond that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from rasterio.features import sieve
from scipy import ndimage

from pipelines.sample.noise import Field, fractal, highest, stream
from pipelines.sample.parcels import Parcels, cells, make_parcels
from pipelines.sample.terrain import rivers
from pipelines.sample.towns import Towns, make_towns


class Cover(IntEnum):
    """The classes; values and names are those of the labels."""

    WATER = 1
    FOREST = 2
    CROPLAND = 3
    GRASSLAND = 4
    BUILT_UP = 5
    BARE = 6

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True)
class Ground:
    """What no date changes. Fields are ``(size, size)``; mean 0, deviation 1 if nothing else is said."""

    cover: NDArray[np.uint8]  # values of Cover, none missing
    slope_east: Field  # rise per pixel, deviation 0.25
    slope_south: Field
    soil: Field  # from dark loam to red earth, in broad swathes
    wet: Field  # moisture, over some hundred pixels
    patch: Field  # mottles of some ten pixels
    grain: Field  # single trees, tufts and stones: close to white
    paddock: NDArray[np.int32]  # numbers of the pastures
    parcels: Parcels
    towns: Towns
    key: int  # of the random streams of this place's parcels

    @property
    def size(self) -> int:
        return len(self.cover)


MAPPING_UNIT = 40  # pixels; smaller islands of a class belong to what surrounds them


def make_ground(seed: int, place: str, size: int) -> Ground:
    """The land of ``place``: the same for the same seed, place and size."""
    rng = stream(seed, place, "ground")
    elevation = fractal(rng, size, slope=3.4, longest=420)
    slope_south, slope_east = np.gradient(elevation)
    soil = fractal(rng, size, slope=3.0, longest=500)
    wet = fractal(rng, size, slope=2.8, longest=200)
    patch = fractal(rng, size, slope=2.0, longest=40)
    grain = fractal(rng, size, slope=0.6, longest=20)

    river = rivers(rng, elevation)
    water = river | highest(fractal(rng, size, slope=3.6, longest=90) - 0.6 * elevation, 0.024)
    to_water: Field = ndimage.distance_transform_edt(~water).astype(np.float32)
    suited = -np.hypot(slope_east, slope_south) / slope_east.std() - np.abs(to_water - 40) / 60
    towns = make_towns(rng, size, suited)
    parcels = make_parcels(rng, size)

    arable = fractal(rng, size, slope=2.6, longest=220) - 0.4 * elevation
    tilled = highest(_mean_of(arable, parcels.id), 0.52)
    wooded = fractal(rng, size, slope=3.4, longest=130) + 0.35 * elevation + 1.5 * np.exp(-to_water / 9)
    banks = np.where((to_water < 9) & (wet > 0.7), 1.2, 0.0)
    rocky = fractal(rng, size, slope=3.3, longest=110) + 0.4 * elevation + banks

    cover = np.full((size, size), Cover.GRASSLAND, np.uint8)
    cover[tilled] = Cover.CROPLAND
    cover[highest(wooded, 0.29)] = Cover.FOREST
    cover[highest(rocky, 0.13)] = Cover.BARE
    cover[towns.density > 0] = Cover.BUILT_UP
    cover[water] = Cover.WATER
    return Ground(
        cover=np.asarray(sieve(cover, MAPPING_UNIT), np.uint8),
        slope_east=np.asarray(slope_east / (4 * slope_east.std()), np.float32),
        slope_south=np.asarray(slope_south / (4 * slope_south.std()), np.float32),
        soil=soil,
        wet=wet,
        patch=patch,
        grain=grain,
        paddock=cells(rng, size, spacing=46.0, warp=9.0).astype(np.int32),
        parcels=parcels,
        towns=towns,
        key=int(rng.integers(1 << 31)),
    )


def _mean_of(field: Field, ids: NDArray[np.int32]) -> Field:
    """Each parcel's mean, on its pixels: whole parcels are tilled or are not."""
    total = np.bincount(ids.ravel(), field.ravel())
    return np.asarray((total / np.bincount(ids.ravel()))[ids], np.float32)
