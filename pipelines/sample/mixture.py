"""The ground on a day: each pixel as a mixture of endmembers, and its reflectance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.ground import Cover, Ground
from pipelines.sample.noise import Field, uniform
from pipelines.sample.season import CROPS, crop_state, crown_green, grass_green
from pipelines.sample.spectra import NAMES, TABLE

_PATCHINESS = 0.9  # deviation of the logarithm of a pixel's shares


def reflectance(ground: Ground, day: float) -> Field:
    """Surface reflectance ``(bands, size, size)`` of the ground on a day of the year, 1 to 366, level and unclouded."""
    pixels = np.empty((TABLE.shape[1], ground.size * ground.size), np.float32)
    for cover, mixed in _MIXTURES.items():
        where = np.flatnonzero(ground.cover.ravel() == cover)
        shares = mixed(ground, where, day)
        total = np.zeros(len(where), np.float32)
        bands = np.zeros((TABLE.shape[1], len(where)), np.float32)
        for name, share in shares.items():
            share = np.clip(share, 0, None).astype(np.float32) * _patchy(where, ground.key, NAMES.index(name))
            total += share
            for band, value in zip(bands, TABLE[NAMES.index(name)], strict=True):
                band += value * share
        pixels[:, where] = bands / total
    return pixels.reshape(-1, ground.size, ground.size)


def _patchy(where: NDArray[np.int64], key: int, endmember: int) -> Field:
    """How much more or less than its share each pixel happens to hold: no two pixels of a field are alike.

    Log-normal with median 1. A single pixel's colour therefore says less of its class than its neighbourhood's does.
    """
    even = [uniform(where, key, 100 + 4 * endmember + draw) for draw in range(4)]
    normal = (sum(even[1:], even[0]) - 2) * np.float32(np.sqrt(3))  # of four even draws: Irwin and Hall
    held: Field = np.exp(np.float32(_PATCHINESS) * normal)
    return held


Shares = Mapping[str, Field]


def _water(g: Ground, at: NDArray[np.int64], day: float) -> Shares:
    silt = np.clip(0.35 + 0.25 * g.wet.ravel()[at] + 0.1 * g.patch.ravel()[at], 0, 1)
    weed = np.clip(0.12 * (g.patch.ravel()[at] - 1.4), 0, 0.3)
    return {"water": 1 - silt, "turbid": silt, "leaf": weed}


def _forest(g: Ground, at: NDArray[np.int64], day: float) -> Shares:
    grain, patch = g.grain.ravel()[at], g.patch.ravel()[at]
    closed = np.clip(0.70 + 0.15 * patch + 0.08 * g.wet.ravel()[at], 0.25, 1)  # canopy closure
    leaves = closed * crown_green(day)
    undergrowth = 1 - closed
    green = grass_green(day)
    return {
        "crown": leaves * 0.70,
        "leaf": 0.24 * leaves + undergrowth * green,
        "shade": np.clip(0.20 + 0.20 * grain, 0.0, 0.7) * closed,
        "straw": undergrowth * (1 - green) + closed - leaves,
    }


def _cropland(g: Ground, at: NDArray[np.int64], day: float) -> Shares:
    parcels, count = g.parcels, np.arange(g.parcels.count)
    ids = parcels.id.ravel()[at]
    kind = np.searchsorted(np.cumsum([c.share for c in CROPS])[:-1], uniform(count, g.key, 1), side="right")
    sown = np.array([c.sown for c in CROPS])[kind] + 36 * (uniform(count, g.key, 2) - 0.5)
    age = (day - sown) % 365
    green, dry = crop_state(age, np.array([c.ripe for c in CROPS])[kind])
    flooded = np.array([c.flooded for c in CROPS])[kind] & ((age < 70) | (age > 350))
    orchard = uniform(count, g.key, 11) < 0.09  # rows of trees over grass
    green, dry = np.where(orchard, grass_green(day), green), np.where(orchard, 1 - grass_green(day), dry)
    fallow = (uniform(count, g.key, 3) < 0.14) & ~orchard
    vigour = np.where(fallow, 0.08, 0.62 + 0.36 * uniform(count, g.key, 4))
    rows = parcels.rows.ravel()[at] * (0.14 + 0.18 * uniform(count, g.key, 5))[ids]
    trees = np.where(orchard[ids], np.clip(0.62 + 2.2 * rows, 0.1, 1), 0)
    growth = 1 + 0.10 * g.wet.ravel()[at] + 0.03 * g.patch.ravel()[at]
    plants = np.clip((green * vigour)[ids] * growth * (1 + rows), 0, 1)
    residue = np.clip((dry * np.where(fallow, 0.3, 1.0))[ids] * (1 + rows), 0, 1 - plants)
    # Furrows shade the soil, so rows show before anything grows.
    furrow = 0.16 + np.clip(-0.7 * rows, -0.15, None) + 0.10 * (uniform(count, g.key, 6) - 0.5)[ids]
    track = np.where(parcels.border.ravel()[at], 0.5, 0.0)
    low = (1 - track) * (1 - trees)
    soil = _soil(g, at, uniform(count, g.key, 7)[ids] - 0.5)
    open_ground = np.clip(1 - plants - residue, 0, None)
    water = np.where((flooded & ~fallow & ~orchard)[ids], 0.92 * open_ground, 0)
    earth = open_ground - water
    return {
        "leaf": plants * low,
        "straw": residue * low + 0.6 * track,
        "crown": 0.4 * track * (uniform(ids.astype(np.int64), g.key, 8) < 0.35) + 0.8 * trees * (1 - track),
        "shade": earth * furrow + plants * np.clip(0.14 - 0.5 * rows, 0, None),
        "water": water * low * 0.5,
        "turbid": water * low * 0.5,
        **{name: earth * share * low for name, share in soil.items()},
    }


def _grassland(g: Ground, at: NDArray[np.int64], day: float) -> Shares:
    paddock = g.paddock.ravel()[at].astype(np.int64)
    grazed, kind = uniform(paddock, g.key, 9), uniform(paddock, g.key, 10)
    patch, wet, grain = (field.ravel()[at] for field in (g.patch, g.wet, g.grain))
    green = grass_green(day) + 0.13 * wet + 0.07 * patch + 0.50 * (kind - 0.5)
    plants = np.clip(green, 0.04, 0.95)
    earth = np.clip(0.05 + 0.25 * (grazed - 0.4) - 0.06 * patch, 0, 0.6) * (1 - plants)
    shrub = 0.75 * np.clip(0.8 * grain + 0.8 * patch - 1.3, 0, 1)
    pool = np.clip(1.2 * (wet - 1.0) + 0.7 * grain - 0.3, 0, 0.95) * (1 - shrub)  # marsh
    soil = _soil(g, at, np.zeros(len(at), np.float32))
    return {
        "leaf": plants * (1 - shrub - pool),
        "straw": np.clip(1 - plants - earth, 0, None) * (1 - shrub - pool),
        "crown": shrub,
        "shade": 0.05 + 0.25 * shrub,
        "water": 0.6 * pool,
        "turbid": 0.4 * pool,
        **{name: earth * (1 - shrub - pool) * share for name, share in soil.items()},
    }


def _built_up(g: Ground, at: NDArray[np.int64], day: float) -> Shares:
    street, roof, tiles, dense = (f.ravel()[at] for f in (g.towns.street, g.towns.roof, g.towns.tiles, g.towns.density))
    roofs = (1 - street) * roof
    garden = (1 - street) * (1 - roof)
    leafy = np.clip(grass_green(day) + 0.15 * g.wet.ravel()[at] + 0.25 * g.grain.ravel()[at], 0.05, 0.95)
    soil = _soil(g, at, np.zeros(len(at), np.float32))
    clay = np.clip(1.6 * tiles - 0.1 - 0.4 * np.clip(dense, 0, 1), 0, 1)
    return {
        "asphalt": street * 0.6 + 0.1 * roofs,
        "clay_tiles": roofs * clay,
        "concrete": roofs * (1 - clay) * 0.75,
        "leaf": garden * leafy * 0.65,
        "crown": garden * leafy * 0.35,
        "straw": garden * (1 - leafy) * 0.5,
        "shade": 0.10 + 0.12 * roofs,
        **{name: (garden * (1 - leafy) * 0.5 + 0.4 * street) * share for name, share in soil.items()},
    }


def _bare(g: Ground, at: NDArray[np.int64], day: float) -> Shares:
    patch, wet, grain = (field.ravel()[at] for field in (g.patch, g.wet, g.grain))
    scrub = np.clip(0.12 + 0.08 * wet - 0.08 * patch + 0.06 * grain, 0, 0.5)
    green = scrub * grass_green(day) * 1.2
    soil = _soil(g, at, 0.25 * patch)
    return {
        "leaf": green * 0.7,
        "crown": green * 0.3,
        "straw": scrub * 1.2,
        "shade": np.clip(0.17 - 0.04 * patch + 0.11 * grain, 0, 0.6),
        **{name: (1 - scrub) * share for name, share in soil.items()},
    }


def _soil(g: Ground, at: NDArray[np.int64], tone: Field) -> Shares:
    """Loam and red earth by the broad swathes of the place, with ``tone`` of about -0.5 to 0.5 added."""
    red = np.clip(0.5 + 0.22 * g.soil.ravel()[at] + 0.7 * tone, 0, 1)
    return {"loam": 1 - red, "red_earth": red}


_MIXTURES = {
    Cover.WATER: _water,
    Cover.FOREST: _forest,
    Cover.CROPLAND: _cropland,
    Cover.GRASSLAND: _grassland,
    Cover.BUILT_UP: _built_up,
    Cover.BARE: _bare,
}
