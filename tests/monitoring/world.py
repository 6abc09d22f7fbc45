"""A little world for the tests of watching: scenes of a few kinds of ground, whose spectra move with the season."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import Drift
from pipelines.monitoring.drift import Comparison, compare, grouped
from pipelines.monitoring.profile import Profile, SceneProfile
from pipelines.monitoring.reference import Reference, write_reference

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
CLASSES = ("water", "forest", "field")
PARAMS = Drift(threshold=0.35, min_pixels=500, min_scenes=2, sample=2048, by=("season", "zone"), cooldown_days=7)
SIDE = 128
_SPECTRA = np.array(
    [[0.06, 0.05, 0.04, 0.03, 0.02, 0.01], [0.03, 0.05, 0.03, 0.30, 0.15, 0.07], [0.07, 0.10, 0.12, 0.25, 0.28, 0.20]],
    np.float32,
)
_WINTER = np.array([1.1, 1.1, 1.4, 0.55, 1.3, 1.5], np.float32)  # less green, drier


@dataclass
class Ground:
    """What ``SceneProfile`` asks of a scene."""

    id: str
    season: str = "summer"
    zone: str = "21S"
    datetime: datetime = field(default_factory=lambda: datetime(2024, 1, 1, tzinfo=UTC))
    nodata_share: float = 0.0
    cloud_share: float = 0.0


def pixels(seed: int, season: str = "summer") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reflectance ``(6, SIDE, SIDE)`` and probabilities ``(3, SIDE, SIDE)`` of one scene, float32."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, (SIDE, SIDE), p=rng.dirichlet((12, 20, 16)))
    spectra = _SPECTRA * (_WINTER if season == "winter" else 1)
    image = spectra[kinds].transpose(2, 0, 1) * rng.normal(1, 0.03) + rng.normal(0, 0.012, (6, SIDE, SIDE))
    sure = rng.uniform(0.6, 0.98, (SIDE, SIDE))
    probabilities = np.where(np.arange(3)[:, None, None] == kinds, sure, (1 - sure) / 2)
    return image.astype(np.float32), probabilities.astype(np.float32)


def observed(
    ground: Ground,
    seed: int,
    *,
    offset: float = 0.0,
    order: tuple[int, ...] | None = None,
    mask: NDArray[np.uint8] | None = None,
    step: int = 32,
) -> SceneProfile:
    """A scene watched row band by row band, with a fault planted in its pixels."""
    image, probabilities = pixels(seed, ground.season)
    image = (image + np.float32(offset))[list(order or range(6))]
    bits = np.zeros((SIDE, SIDE), np.uint8) if mask is None else mask
    observer = SceneProfile(BANDS, CLASSES, PARAMS.sample, (SIDE, SIDE), ground)
    for top in range(0, SIDE, step):
        rows = slice(top, min(top + step, SIDE))
        observer(rows, image[:, rows], bits[rows], probabilities[:, rows])
    return observer


def training(
    folder: Path, seasons: tuple[str, ...] = ("summer", "winter"), zones: tuple[str, ...] = ("21S",)
) -> Reference:
    """A reference of four scenes a season and zone."""
    samples = []
    for season in seasons:
        for zone in zones:
            for seed in range(4):
                observer = observed(Ground(f"{season}-{zone}-{seed}", season, zone), 100 + seed + len(season + zone))
                samples.append((observer.facts(), observer.columns()))
    write_reference(folder, samples, PARAMS.by)
    return Reference(folder)


def scene(number: int, *, season: str = "summer", zone: str = "21S", **fault: object) -> Profile:
    """The profile of a new scene, the ``number``-th of its month."""
    when = datetime(2025, 1, 1 + number, tzinfo=UTC)
    return observed(Ground(f"new-{number}", season, zone, when), 900 + number, **fault).profile()  # type: ignore[arg-type]


def against(reference: Reference | None, profiles: list[Profile], params: Drift = PARAMS) -> Comparison:
    return compare(grouped(profiles, params).items(), [reference] if reference else [], "3", params)
