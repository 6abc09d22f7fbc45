import dataclasses

import numpy as np
import pytest

from pipelines.sample.acquisition import LABELLED, Acquisition
from pipelines.sample.drift import Drift, parse_drift
from pipelines.sample.ground import Cover, Ground, make_ground
from pipelines.sample.mixture import reflectance
from pipelines.sample.render import Picture, render
from pipelines.sample.spectra import BANDS, HAZE

PLACE = LABELLED[0]
RED, NIR = BANDS.index("B04"), BANDS.index("B08")


@pytest.fixture(scope="module")
def ground() -> Ground:
    return make_ground(0, PLACE.name, 256)


@dataclasses.dataclass(frozen=True)
class SameDay(Acquisition):
    """An acquisition whose drift does not move it to another date."""

    @property
    def datetime(self):  # type: ignore[no-untyped-def]
        return Acquisition(self.place, self.index).datetime


def measured(ground: Ground, index: int = 0, drift: str | None = None) -> tuple[np.ndarray, Picture]:
    look = SameDay(PLACE, index, parse_drift(drift)) if drift else Acquisition(PLACE, index)
    picture = render(0, ground, look)
    return (picture.pixels.astype(np.float64) - look.offset) / 10000, picture


def test_baselines_state_the_same_reflectance(ground: Ground) -> None:
    """Seven weeks apart, on either side of the switch: water and forest hardly change, the offset would be 0.1."""
    early, late = Acquisition(PLACE, 1), Acquisition(PLACE, 2)
    assert (early.offset, late.offset) == (0, 1000)
    (a, first), (b, second) = measured(ground, 1), measured(ground, 2)
    clear = (first.scl > 3) & (first.scl < 8) & (second.scl > 3) & (second.scl < 8)
    for cover in (Cover.WATER, Cover.FOREST):
        where = clear & (ground.cover == cover)
        assert where.sum() > 500
        difference = np.median(a[:, where] - b[:, where], axis=1)
        assert np.abs(difference).max() < 0.03


def test_reflectance_is_plausible_for_each_class(ground: Ground) -> None:
    """Water is dark in the infrared, plants are bright there and dark in red, soil rises towards 1.6 micrometres."""
    land = reflectance(ground, 37)
    mean = {cover: land[:, ground.cover == cover].mean(1) for cover in Cover}
    assert mean[Cover.WATER][NIR] < 0.1 < 0.2 < mean[Cover.FOREST][NIR]
    assert mean[Cover.FOREST][RED] < 0.5 * mean[Cover.BARE][RED]
    assert mean[Cover.BARE][BANDS.index("B11")] > mean[Cover.BARE][NIR] > mean[Cover.BARE][RED]
    assert land.min() > 0 and land.max() < 0.6


def test_crops_change_with_the_season_and_towns_do_not(ground: Ground) -> None:
    spring, summer = reflectance(ground, 312), reflectance(ground, 37)
    change = np.abs(spring - summer)[NIR]
    assert change[ground.cover == Cover.CROPLAND].mean() > 5 * change[ground.cover == Cover.BUILT_UP].mean()


@pytest.mark.parametrize("strength", [0.2, 0.6])
def test_gain_and_offset_are_as_strong_as_asked(ground: Ground, strength: float) -> None:
    plain, _ = measured(ground)
    gained, _ = measured(ground, drift=f"gain:{strength}")
    assert np.median(gained / plain) == pytest.approx(1 + strength, rel=0.01)
    plain, picture = measured(ground, 2)
    shifted, _ = measured(ground, 2, drift=f"offset:{strength}")
    np.testing.assert_allclose((shifted - plain)[:, picture.scl > 0], -0.1 * strength, atol=1.1e-4)


def test_noise_has_the_deviation_asked(ground: Ground) -> None:
    plain, _ = measured(ground)
    noisy, _ = measured(ground, drift="noise:0.3")
    bright = plain[NIR] > 0.2  # far from the floor at one
    assert (noisy - plain)[NIR][bright].std() == pytest.approx(0.03, rel=0.03)


def test_haze_covers_the_share_of_a_pixel_that_was_asked(ground: Ground) -> None:
    plain, _ = measured(ground)
    hazy, _ = measured(ground, drift="haze:0.5")
    dark = plain[0] < HAZE[0] - 0.15  # haze and ground differ enough to tell them apart
    share = (hazy[0] - plain[0])[dark] / (HAZE[0] - plain[0])[dark]
    assert dark.mean() > 0.5
    assert share.mean() == pytest.approx(0.5, abs=0.03)


def test_bandswap_of_one_exchanges_red_and_infrared(ground: Ground) -> None:
    plain, _ = measured(ground)
    swapped, _ = measured(ground, drift="bandswap:1")
    order = list(range(len(BANDS)))
    order[RED], order[NIR] = NIR, RED
    np.testing.assert_allclose(swapped, plain[order], atol=1e-4)


def test_shift_moves_image_and_classification_together(ground: Ground) -> None:
    plain, before = measured(ground)
    moved, after = measured(ground, drift="shift:0.4")
    assert before.nodata_share == 0
    np.testing.assert_array_equal(moved[:, 2:, 4:], plain[:, :-2, :-4])
    np.testing.assert_array_equal(after.scl[2:, 4:], before.scl[:-2, :-4])


def test_blur_takes_the_detail_and_keeps_the_mean(ground: Ground) -> None:
    plain, _ = measured(ground)
    detail = [np.abs(np.diff(measured(ground, drift=f"blur:{s}")[0][0])).mean() for s in (0.1, 0.3, 1.0)]
    assert np.abs(np.diff(plain[0])).mean() > detail[0] > 2 * detail[1] > 4 * detail[2]
    assert measured(ground, drift="blur:1")[0].mean() == pytest.approx(plain.mean(), rel=0.01)


def test_season_puts_plants_half_a_year_ahead(ground: Ground) -> None:
    plain, picture = measured(ground)
    later, _ = measured(ground, drift="season:1")
    clear = (picture.scl > 3) & (picture.scl < 8)
    change = np.abs(later - plain)[NIR]
    assert change[clear & (ground.cover == Cover.CROPLAND)].mean() > 0.03
    assert change[clear & (ground.cover == Cover.WATER)].mean() < 0.01


def test_drift_of_strength_zero_changes_nothing(ground: Ground) -> None:
    plain = render(0, ground, Acquisition(PLACE, 1))
    for kind in ("gain", "haze", "noise", "season", "shift", "blur"):
        same = render(0, ground, Acquisition(PLACE, 1, Drift(kind=kind, strength=0)))
        np.testing.assert_array_equal(same.pixels, plain.pixels)
