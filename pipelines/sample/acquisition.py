"""Places, and the dates at which the sample's satellites pass over them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.sample.drift import NONE, Drift


@dataclass(frozen=True)
class Place:
    """A tile of Sentinel-2's grid; ``east`` and ``north`` are its upper left corner in metres of its UTM zone."""

    name: str
    epsg: int
    east: float
    north: float
    latitude: float


LABELLED = (
    Place("21JYG", 32721, 699_960.0, 6_700_000.0, -29.8),
    Place("22JCM", 32722, 300_000.0, 6_700_000.0, -29.8),
)
UNLABELLED = Place("22JEM", 32722, 499_980.0, 6_700_000.0, -29.8)

PIXEL = 10.0  # metres
OFFSET_SINCE = datetime(2022, 1, 25, tzinfo=UTC)  # the day on which baseline 04.00 brought the offset
_FIRST = datetime(2021, 11, 8, tzinfo=UTC)
_PASSES = (0, 4, 2, 6, 1, 5, 3, 7, 8)  # fills the 45 days between two dates evenly, five days at a time


@dataclass(frozen=True)
class Acquisition:
    """The ``index``-th look at ``place``; those with ``drift`` come two years later and are not as they should be."""

    place: Place
    index: int
    drift: Drift = NONE

    @property
    def datetime(self) -> datetime:
        """Every 45 days of a year, then five days at a time in between, then the next year."""
        season, turn = self.index % 8, self.index // 8
        days = 45 * season + 5 * _PASSES[turn % len(_PASSES)] + 365 * (turn // len(_PASSES))
        days += 731 if self.drift.strength else 0
        # The neighbouring zone is passed over two days earlier or later, by another orbit.
        days += 2 if self.place.epsg % 2 else 0
        return _FIRST + timedelta(days=days, hours=13, minutes=41, seconds=self.index % 60)

    @property
    def day(self) -> int:
        """Day of the year."""
        return self.datetime.timetuple().tm_yday

    @property
    def baseline(self) -> str:
        """By date, but for some early scenes that were processed again: the date does not tell the baseline."""
        again = self.index % 3 == 0 and self.place is not LABELLED[0]
        return "05.09" if self.datetime >= OFFSET_SINCE or again else "03.01"

    @property
    def offset(self) -> int:
        """Added to 10000 times the reflectance in the pixels."""
        return 1000 if self.baseline >= "04.00" else 0

    @property
    def platform(self) -> str:
        return "sentinel-2a" if (self.datetime - _FIRST).days // 5 % 2 else "sentinel-2b"

    @property
    def id(self) -> str:
        name = f"S2{self.platform[-1].upper()}_{self.place.name}_{self.datetime:%Y%m%d}_0_L2A"
        return f"{name}_{self.drift.slug}" if self.drift.strength else name


def acquisitions(scenes: int, unlabelled: int, drift: Drift) -> list[Acquisition]:
    """``scenes`` over the labelled places in turn, and ``unlabelled`` over the one without labels.

    More scenes never change the ones before, so a region can grow.
    """
    seen = [Acquisition(LABELLED[i % len(LABELLED)], i // len(LABELLED), drift) for i in range(scenes)]
    return seen + [Acquisition(UNLABELLED, i, drift) for i in range(unlabelled)]
