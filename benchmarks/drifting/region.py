"""The sample region as looks: a history for the reference, and later dates of the same ground that it never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from benchmarks.drifting.look import IGNORE, REFLECTANCE, Look
from pipelines.sample.acquisition import LABELLED, UNLABELLED, Acquisition, Place
from pipelines.sample.drift import NONE, Drift
from pipelines.sample.ground import Cover, Ground, make_ground
from pipelines.sample.render import NODATA, SHADOW, render
from pipelines.sample.spectra import COMMON_NAMES
from pipelines.scenes.scene import MaskBit

CLASSES = len(Cover)
_DATES = 8  # a turn of the sample's satellites: dates that cover a year
_CLOUDIEST = 80  # percent, as ``scenes.max_cloud``
_SEASONS = ("summer", "autumn", "winter", "spring")  # of the southern hemisphere, from December


class Region:
    """``history`` and ``later`` turns over both labelled places, of ``size`` pixels."""

    def __init__(self, seed: int, size: int, history: int, later: int) -> None:
        self.seed, self.size, self.history, self.later = seed, size, history, later

    def before(self) -> list[Look]:
        return list(self._looks(LABELLED, range(self.history)))

    def after(self) -> list[Look]:
        return list(self._looks(LABELLED, range(self.history, self.history + self.later)))

    def elsewhere(self) -> list[Look]:
        """Later dates of ground that the reference does not know, in one of its zones."""
        return list(self._looks([UNLABELLED], range(self.history, self.history + self.later)))

    def ahead(self, look: Look, strength: float) -> Look:
        """``look`` with plants ``strength`` half years ahead of its date."""
        place, index = look.id.rsplit("-", 1)
        where = next(p for p in (*LABELLED, UNLABELLED) if p.name == place)
        drift = Drift(kind="season", strength=strength)
        return self._look(Acquisition(where, int(index), drift), look)

    def _looks(self, places: Sequence[Place], turns: range) -> Iterator[Look]:
        for place in places:
            for index in range(turns.start * _DATES, turns.stop * _DATES):
                look = self._look(Acquisition(place, index, NONE))
                if look.cloud_share * 100 <= _CLOUDIEST:
                    yield look

    def _look(self, taken: Acquisition, like: Look | None = None) -> Look:
        ground = _ground(self.seed, taken.place.name, self.size)
        picture = render(self.seed, ground, taken)
        mask = np.zeros(picture.scl.shape, np.uint8)
        mask[picture.scl == NODATA] |= np.uint8(MaskBit.NODATA)
        mask[picture.scl == SHADOW] |= np.uint8(MaskBit.SHADOW)
        mask[picture.scl >= 8] |= np.uint8(MaskBit.CLOUD)
        when = like.datetime if like else taken.datetime
        return Look(
            place=taken.place.name,
            id=f"{taken.place.name}-{taken.index}",
            season=_SEASONS[when.month % 12 // 3],
            zone=f"{taken.place.epsg % 100}S",
            datetime=when,
            bands=COMMON_NAMES,
            pixels=((picture.pixels.astype(np.float32) - taken.offset) / 10_000).astype(np.float32),
            mask=mask,
            labels=np.where(ground.cover > 0, ground.cover - 1, IGNORE).astype(np.uint8),
            unit=REFLECTANCE,
        )


@cache
def _ground(seed: int, place: str, size: int) -> Ground:
    return make_ground(seed, place, size)
