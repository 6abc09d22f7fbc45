"""The darkest pixels: what they tell where places differ too much for all of their pixels to tell it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.monitoring.causes import likely_cause
from pipelines.monitoring.drift import Comparison, compare, grouped
from pipelines.monitoring.features import DARK, GROUND, Columns, dark_features, input_features, plain
from pipelines.monitoring.profile import Facts, Profile, logged
from pipelines.monitoring.reference import MANY_PLACES, Reference, write_reference
from pipelines.monitoring.verdict import judge
from tests.monitoring.world import PARAMS

BANDS = ("red", "green", "blue")
PIXELS, BLOCKS = 2000, 10
ANYWHERE = PARAMS.model_copy(update={"by": ()})
FOREST, FIELD = np.array([0.03, 0.05, 0.04]), np.array([0.14, 0.11, 0.08])


def place(number: int, haze: float = 0.0) -> tuple[Facts, Columns]:
    """Forest, which looks alike everywhere, between fields of any share, brightness and colour."""
    rng = np.random.default_rng(number)
    wooded = rng.random(PIXELS) < rng.uniform(0.2, 0.9)
    field = FIELD * rng.uniform(0.8, 2.5) * rng.uniform(0.8, 1.2, 3)
    spectra = np.where(wooded[:, None], FOREST, field) * rng.lognormal(0, 0.1, (PIXELS, 1))
    pixels = (spectra + rng.normal(0, 0.002, (PIXELS, 3)) + haze * np.array([0.7, 0.8, 1])).T.astype(np.float32)
    columns = input_features(BANDS, pixels)
    when = datetime(2025, 1, 1 + number % 28, tzinfo=UTC)
    return Facts(scene=f"place-{number:03d}", when=when, pixels=PIXELS), columns | dark_features(BANDS, columns)


def reference(folder: Path, *, places: int, scenes: int = 16) -> Reference:
    """Of so many scenes; those of the same place, by the blocks that they say they lie on, take turns."""
    samples = []
    for i in range(scenes):
        facts, columns = place(i)
        blocks = i % places * BLOCKS + np.arange(PIXELS, dtype=np.int32) % BLOCKS
        samples.append((facts, columns | {GROUND: blocks}))
    write_reference(folder, samples, ())
    return Reference(folder)


def stream(haze: float, first: int = 101) -> list[Profile]:
    """Four scenes of other places, of which the last two are hazy."""
    return [logged(*reversed(place(first + i, haze if i >= 2 else 0.0))) for i in range(4)]


def against(known: Reference, profiles: list[Profile]) -> Comparison:
    return compare(grouped(profiles, ANYWHERE).items(), [known], "1", ANYWHERE)


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Reference:
    return reference(tmp_path_factory.mktemp("reference") / "inputs", places=16)


def test_thin_haze_over_places_unlike_each_other_is_seen_in_their_darkest_pixels_alone(known: Reference):
    comparison = against(known, stream(haze=0.008))
    said = judge(comparison, ANYWHERE)
    assert said.verdict == "drift"
    assert said.features and all(feature.startswith(DARK) for feature in said.features), said.features
    assert "shifted by about +0.00" in str(likely_cause(comparison.scenes[-1]))


def test_other_places_without_haze_are_no_drift(known: Reference):
    words = [judge(against(known, stream(haze=0.0, first=100 * n + 1)), ANYWHERE).verdict for n in range(1, 21)]
    assert words.count("drift") <= 1


@pytest.mark.parametrize(("places", "judged"), [(1, False), (MANY_PLACES - 1, False), (MANY_PLACES, True)])
def test_they_are_judged_where_the_reference_knows_many_places(tmp_path: Path, places: int, judged: bool):
    compared = against(reference(tmp_path / "inputs", places=places), stream(haze=0.02))
    dark = [feature for feature in compared.scenes[0].distances if feature.startswith(DARK)]
    assert bool(dark) is judged
    assert "band.red" in compared.scenes[0].distances


def test_scenes_that_do_not_say_where_they_lie_are_of_no_known_place(tmp_path: Path):
    write_reference(tmp_path / "inputs", [place(i) for i in range(16)], ())
    assert not any(
        f.startswith(DARK) for f in against(Reference(tmp_path / "inputs"), stream(0.02)).scenes[0].distances
    )


def test_the_darkest_tenth_keeps_its_values_and_the_rest_has_none():
    pixels = np.arange(1, 301, dtype=np.float32).reshape(100, 3).T
    columns = input_features(BANDS, pixels)
    dark = dark_features(BANDS, columns)
    assert set(dark) == {DARK + name for name in columns}
    for name, values in columns.items():
        assert np.array_equal(dark[DARK + name][:10], values[:10])
        assert np.isnan(dark[DARK + name][10:]).all()
    assert plain("dark.index.red-green") == "RED-GREEN of the darkest tenth"


def test_no_pixels_have_no_darkest_ones():
    columns = input_features(BANDS, np.zeros((3, 0), np.float32))
    assert all(len(values) == 0 for values in dark_features(BANDS, columns).values())


def test_groups_that_are_drawn_together_need_not_know_the_same_of_their_pixels(tmp_path: Path) -> None:
    """Winter is known from many places, summer from one, and whoever asks for all of them at once asks of both."""
    samples = []
    for i in range(MANY_PLACES + 6):
        facts, columns = place(i)
        winter = i < MANY_PLACES + 2
        facts = facts.model_copy(update={"season": "winter" if winter else "summer"})
        blocks = np.full(PIXELS, i if winter else 1000, np.int32)
        samples.append((facts, columns | {GROUND: blocks}))
    write_reference(tmp_path / "inputs", samples, ("season",))
    seasons = ("winter", "winter", "summer", "summer")
    new = [(place(101 + i, haze=0.02), season) for i, season in enumerate(seasons)]
    profiles = [logged(columns, facts.model_copy(update={"season": season})) for (facts, columns), season in new]
    found = against(Reference(tmp_path / "inputs"), profiles)
    assert any(DARK in feature for one in found.scenes for feature in one.suspect)
    assert len(found.groups) == 1
