"""Phenology: how green and how dry each kind of cover is on a day of the year, in the southern hemisphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.sample.noise import Field


@dataclass(frozen=True)
class Crop:
    """Sown on ``sown`` (day of the year), ripe ``ripe`` days later, and harvested soon after."""

    sown: float
    ripe: float
    share: float  # of the parcels
    flooded: bool = False  # stands under water while young


# About the calendar of Rio Grande do Sul and Uruguay.
CROPS = (
    Crop(sown=318, ripe=125, share=0.30),  # soybean
    Crop(sown=262, ripe=140, share=0.20),  # maize
    Crop(sown=160, ripe=150, share=0.14),  # wheat
    Crop(sown=295, ripe=130, share=0.18, flooded=True),  # rice
    Crop(sown=95, ripe=215, share=0.18),  # oats and ryegrass, grazed
)


def crop_state(age: Field, ripe: Field) -> tuple[Field, Field]:
    """Shares of green and dry plants ``age`` days after sowing: a double logistic curve (Beck et al., Remote Sensing of
    Environment 100, 2006), with stubble that fades in the ten weeks after harvest."""
    grown = 1 / (1 + np.exp(-(age - 38) / 8))
    withered = 1 / (1 + np.exp(-(age - ripe + 12) / 7))
    harvested = 1 / (1 + np.exp(-(age - ripe - 14) / 3))
    green = grown * (1 - withered)
    stubble = 0.65 * np.exp(-np.clip(age - ripe - 14, 0, None) / 70)
    dry = grown * withered * (1 - harvested) * 0.9 + harvested * stubble
    return green.astype(np.float32), dry.astype(np.float32)


def grass_green(day: float) -> float:
    """Share of green in pasture: highest in late spring, lowest in late winter."""
    return float(0.52 + 0.2 * np.cos(2 * np.pi * (day - 335) / 365))


def crown_green(day: float) -> float:
    """Leaves on the trees, most of them evergreen."""
    return float(0.93 + 0.07 * np.cos(2 * np.pi * (day - 15) / 365))
