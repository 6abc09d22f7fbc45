"""The verdict: what is drift, what is a warning, and what is nothing at all."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.monitoring.causes import likely_cause
from pipelines.monitoring.distance import distance, hellinger, quantile
from pipelines.monitoring.drift import Compared, Comparison, latest
from pipelines.monitoring.features import Columns
from pipelines.monitoring.limits import CEILING
from pipelines.monitoring.profile import Facts, Profile, logged, read_profile
from pipelines.monitoring.reference import Reference, write_reference
from pipelines.monitoring.report import write_report
from pipelines.monitoring.verdict import call_for_training, judge
from pipelines.scenes.scene import MaskBit
from tests.monitoring.world import PARAMS, SIDE, Ground, against, observed, scene, training

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    return training(tmp_path_factory.mktemp("reference") / "inputs")


def verdict(reference, profiles, params=PARAMS):
    return judge(against(reference, profiles, params), params)


def test_the_same_kind_of_scenes_is_no_drift(reference):
    said = verdict(reference, [scene(i) for i in range(6)])
    assert (said.verdict, said.features) == ("none", ())


def test_an_offset_in_several_scenes_is_drift(reference):
    said = verdict(reference, [scene(i, offset=0.1 if i >= 2 else 0) for i in range(4)])
    assert said.verdict == "drift"
    assert said.groups[0].scenes == ("new-2", "new-3")
    assert any(f.startswith("band.") for f in said.features) and len(said.features) <= 5


def test_the_same_offset_in_one_scene_is_a_warning(reference):
    said = verdict(reference, [scene(i, offset=0.1 if i == 3 else 0) for i in range(4)])
    assert (said.verdict, said.groups[0].scenes) == ("warning", ("new-3",))


def test_oddness_that_has_passed_is_forgotten(reference):
    profiles = [scene(i, offset=0.1 if i < 3 else 0) for i in range(9)]
    assert verdict(reference, profiles[:4]).verdict == "drift"
    assert verdict(reference, profiles).verdict == "none"


def of_one_moment(profiles: list[Profile]) -> list[Profile]:
    return [p.__class__(p.view, p.facts.model_copy(update={"when": profiles[0].facts.when})) for p in profiles]


def test_of_many_scenes_of_one_moment_a_few_that_are_odd_make_no_drift(reference):
    few = of_one_moment([scene(i, offset=0.1 if i < 2 else 0) for i in range(8)])
    assert verdict(reference, few).verdict == "warning"
    half = of_one_moment([scene(i, offset=0.1 if i < 4 else 0) for i in range(8)])
    assert verdict(reference, half).verdict == "drift"


def test_all_scenes_of_the_latest_moment_are_the_latest():
    profiles = of_one_moment([scene(i) for i in range(6)])
    assert len(latest(profiles, PARAMS)) == 6 > 2 * PARAMS.min_scenes
    assert len(latest([scene(i) for i in range(9)], PARAMS)) == 2 * PARAMS.min_scenes


def test_winter_is_compared_with_winter(reference):
    winters = [scene(i, season="winter") for i in range(4)]
    assert verdict(reference, winters).verdict == "none"


def test_winter_would_be_drift_were_it_compared_with_summer(reference):
    """Without the condition on season the same scenes are odd, so the test above tests something."""
    as_summer = [
        p.__class__(p.view, p.facts.model_copy(update={"season": "summer"}))
        for p in (scene(i, season="winter") for i in range(4))
    ]
    assert verdict(reference, as_summer).verdict == "drift"


def test_a_reference_of_another_season_can_warn_and_no_more(tmp_path: Path):
    summer_only = training(tmp_path / "inputs", seasons=("summer",))
    said = verdict(summer_only, [scene(i, season="winter") for i in range(4)])
    assert said.verdict == "warning"
    assert "shares zone" in said.groups[0].sentence


def test_a_scene_of_another_zone_uses_the_reference_of_its_season(reference):
    compared = against(reference, [scene(i, zone="22S") for i in range(2)]).scenes[0]
    assert (compared.shared, compared.exact, compared.odd) == (("season",), False, {})


def test_too_few_pixels_give_no_verdict(reference):
    mask = np.full((SIDE, SIDE), MaskBit.CLOUD, np.uint8)
    mask[:4, :20] = 0
    said = verdict(reference, [scene(i, offset=0.1, mask=mask) for i in range(1)])
    assert said.verdict == "no sample"
    assert "usable pixels" in said.sentence


def test_a_model_without_reference_gives_no_verdict():
    assert verdict(None, [scene(0, offset=0.1), scene(1, offset=0.1)]).verdict == "no reference"


def test_no_maps_give_no_verdict(reference):
    assert verdict(reference, []).verdict == "no sample"


def test_scenes_that_differ_anyway_raise_the_limit(tmp_path: Path):
    """Ground that varies wildly from scene to scene in training may do so later; even ground may not."""
    rng = np.random.default_rng(0)

    def samples(spread: float):
        for i in range(6):
            values = rng.normal(i * spread, 1, 1000).astype(np.float32)
            yield Facts(scene=str(i), season="summer", zone="21S", pixels=1000), {"band.B02": values}

    write_reference(tmp_path / "even", samples(0), PARAMS.by)
    write_reference(tmp_path / "varied", samples(1.5), PARAMS.by)
    limits = []
    for name in ("even", "varied"):
        new = logged(
            {"band.B02": rng.normal(2, 1, 1000).astype(np.float32)},
            Facts(scene="new", season="summer", zone="21S", pixels=1000),
        )
        limits.append(against(Reference(tmp_path / name), [new]).scenes[0].limits["band.B02"])
    assert limits[0] < 0.2 < 0.5 < limits[1] < 1


def test_a_reference_of_many_scenes_holds_few_and_none_of_a_small_group_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.monitoring.reference.SCENES", 24)
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def samples() -> Iterator[tuple[Facts, Columns]]:
        nonlocal most
        for i in range(400):
            values = np.full(50, i, np.float32)
            alive.append(weakref.ref(values))
            season = "winter" if i % 80 == 0 else "summer"
            yield Facts(scene=f"{i:03d}", season=season, zone="21S", pixels=50), {"band.B02": values}
            del values
            most = max(most, sum(one() is not None for one in alive))

    entries = {e.season: e for e in write_reference(tmp_path / "many", samples(), PARAMS.by)}
    assert most <= 26 and entries["winter"].scenes == 5
    assert 6 <= entries["summer"].scenes <= 19
    summer = read_profile(tmp_path / "many" / entries["summer"].file)
    low, middle, high = (quantile("band.B02", summer.view, at) for at in (0.02, 0.5, 0.98))
    assert low < 40 and abs(middle - 200) < 60 and high > 340  # evenly from end to end


def test_a_scene_under_clouds_is_judged_by_a_wider_limit(reference):
    clear = scene(0)
    cloudy = clear.__class__(clear.view, clear.facts.model_copy(update={"cloud_share": 0.6, "nodata_share": 0.5}))
    limits = [against(reference, [one]).scenes[0].limits["band.B02"] for one in (clear, cloudy)]
    wider = (1 / (0.4 * 0.5) + 1) / 2
    assert limits[1] ** 2 == pytest.approx(limits[0] ** 2 * wider, rel=0.02)  # up to what sampling adds


def test_what_lies_beyond_all_that_the_reference_knows_passes_any_limit():
    """Such a scene shares its outermost bin with a twentieth of the reference's pixels, were there no bins for ends."""
    rng = np.random.default_rng(0)
    facts = Facts(scene="a", season="summer", zone="21S", pixels=4000)
    usual = rng.normal(0.1, 0.02, 4000).astype(np.float32)
    target, reference = (logged({"band.B02": v}, facts).view for v in (np.full(4000, 0.5, np.float32), usual))
    assert distance("band.B02", target, reference) > CEILING


def test_scenes_that_agree_need_not_be_odd_one_by_one(tmp_path: Path):
    """The lower limits make it drift, and only where the scenes agree in a feature; the page shows by which."""

    def compared(name: str, feature: str | None) -> Compared:
        far = {f: 0.4 if f == feature else 0.1 for f in ("band.B02", "band.B03")}
        return Compared(
            name=name,
            group="summer",
            when=NOW,
            scenes=1,
            pixels=1000,
            nodata_share=0,
            cloud_share=0,
            exact_features=tuple(far),
            distances=far,
            limits=dict.fromkeys(far, 0.5),
            agreed_limits=dict.fromkeys(far, 0.3),
        )

    def look(*features: str | None) -> Comparison:
        scenes = tuple(compared(str(i), feature) for i, feature in enumerate(features))
        whole = compared("summer", None).model_copy(update={"scenes": len(scenes)})
        return Comparison(version="1", has_reference=True, scenes=scenes, groups=(whole,))

    def word(*features: str | None) -> str:
        return judge(look(*features), PARAMS).verdict

    assert word(None, "band.B02", None, "band.B02") == "drift"
    assert word(None, "band.B02", None, "band.B03") == "none"
    assert word(None, "band.B02", None, None) == "none"

    shown = look(None, "band.B02", "band.B03", "band.B02")
    verdict = judge(shown, PARAMS)
    page = tmp_path / "report.html"
    write_report(page, shown, verdict, {}, {"features": []}, project="p", run="r")
    cells = re.findall(r'<td class="(odd|cell)"[^>]*>([\d.]+)<', page.read_text())
    # "3" and "1" are those that agree; "2" is as far away in another feature, and alone
    rows = {
        name: cells[2 * i : 2 * i + 2] for i, name in enumerate(re.findall(r"<tr><th[^>]*>(\d)</th>", page.read_text()))
    }
    assert {name: [kind for kind, _ in row] for name, row in rows.items()} == {
        "0": ["cell", "cell"],
        "1": ["odd", "cell"],
        "2": ["cell", "cell"],
        "3": ["odd", "cell"],
    }


def test_one_saturated_pixel_hides_nothing(tmp_path: Path):
    rng = np.random.default_rng(0)
    usual = rng.normal(0.1, 0.02, 4000).astype(np.float32)
    usual[0] = 6.5
    facts = Facts(scene="a", season="summer", zone="21S", pixels=4000)
    target, reference = (logged({"band.B02": v}, facts).view for v in (usual + np.float32(0.1), usual))
    assert distance("band.B02", target, reference) > 0.8


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8), st.data())
def test_hellinger_is_a_distance(raw, data):
    other = data.draw(st.lists(st.floats(0.01, 1), min_size=len(raw), max_size=len(raw)))
    p, q = (np.array(v) / np.sum(v) for v in (raw, other))
    assert hellinger(p, p) == 0
    assert hellinger(p, q) == pytest.approx(hellinger(q, p))
    assert hellinger(p, q) == pytest.approx(np.sqrt(max(1 - np.sqrt(p * q).sum(), 0)), abs=1e-6)


def test_hellinger_of_what_never_meets_is_one():
    assert hellinger(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1


def test_equal_samples_give_equal_references(tmp_path: Path):
    for name in ("a", "b"):
        training(tmp_path / name, zones=("21S", "22S"))
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["all.bin", "index.json", "summer-21S.bin", "summer-22S.bin", "winter-21S.bin", "winter-22S.bin"]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ({"offset": 0.1}, "not applied"),
        ({"offset": -0.1}, "applied twice"),
        ({"offset": 0.2}, "additive offset"),
        ({"order": (0, 1, 3, 2, 4, 5)}, "B04 and B08 looks like the other"),
    ],
)
def test_the_page_names_the_likely_cause(reference, fault, hint):
    compared = against(reference, [scene(0, **fault)]).scenes[0]
    assert hint in (likely_cause(compared) or "")


def test_no_cause_is_named_for_what_is_usual(reference):
    assert likely_cause(against(reference, [scene(0)]).scenes[0]) is None


class TestCooldown:
    @pytest.fixture
    def drifted(self, reference):
        return verdict(reference, [scene(i, offset=0.1) for i in range(2)])

    def test_one_call_in_a_cooldown(self, drifted, reference, tmp_path: Path):
        state = tmp_path / "retrain.json"
        later = verdict(reference, [scene(i, offset=0.1) for i in range(3)])
        runs = [(0, drifted), (1, later), (6.9, later), (7, later), (8, later)]
        calls = [call_for_training(said, f"run-{d}", state, PARAMS, NOW + timedelta(days=d)) for d, said in runs]
        assert calls == [True, False, False, True, False]

    def test_scenes_that_have_called_call_again_only_against_another_version(self, drifted, tmp_path: Path):
        state = tmp_path / "retrain.json"
        days = [0, 7, 300]
        calls = [call_for_training(drifted, f"run-{d}", state, PARAMS, NOW + timedelta(days=d)) for d in days]
        assert calls == [True, False, False]
        promoted = drifted.model_copy(update={"version": "another"})
        assert call_for_training(promoted, "run-301", state, PARAMS, NOW + timedelta(days=301))

    def test_a_run_repeated_says_the_same(self, drifted, tmp_path: Path):
        state = tmp_path / "retrain.json"
        assert call_for_training(drifted, "a", state, PARAMS, NOW)
        assert call_for_training(drifted, "a", state, PARAMS, NOW + timedelta(days=1))
        assert not call_for_training(drifted, "b", state, PARAMS, NOW + timedelta(days=2))

    def test_a_warning_never_calls(self, reference, tmp_path: Path):
        said = verdict(reference, [scene(0), scene(1, offset=0.1)])
        assert said.verdict == "warning"
        assert not call_for_training(said, "a", tmp_path / "retrain.json", PARAMS, NOW)
        assert not (tmp_path / "retrain.json").exists()


def test_output_features_are_judged_by_the_outputs_reference(tmp_path: Path, reference):
    """A reference of chips knows bands only; what the map looked like comes from the evaluation's."""
    samples = []
    for seed in range(4):
        observer = observed(Ground(f"s{seed}"), seed)
        bands = {n: v for n, v in observer.columns().items() if not n.startswith("map.")}
        samples.append((observer.facts(), bands))
    write_reference(tmp_path / "inputs", samples, PARAMS.by)
    from pipelines.monitoring.drift import compare, grouped

    profiles = grouped([scene(0)], PARAMS).items()
    alone = compare(profiles, [Reference(tmp_path / "inputs")], "1", PARAMS).scenes[0]
    both = compare(profiles, [Reference(tmp_path / "inputs"), reference], "1", PARAMS).scenes[0]
    assert "map.confidence" not in alone.distances
    assert {"map.class", "map.confidence", "map.entropy", "band.B02"} <= both.distances.keys()
