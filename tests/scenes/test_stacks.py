"""Stacks: which dates lie in one, what its pixels, mask and radiometry are, and when it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.config.params import Scenes, Stack
from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.scenes.candidate import Candidate, Refused
from pipelines.scenes.catalog import item_path, read_scenes
from pipelines.scenes.dates import Dates
from pipelines.scenes.fetch import fetch
from pipelines.scenes.scene import MaskBit, Scene
from pipelines.scenes.search import search
from pipelines.scenes.stacks import stacked
from tests.scenes.servers import file_server
from tests.scenes.sources import item, params, write_band, write_catalog, write_scene_files
from tests.scenes.test_ingest import Project

ANY = Dates(None, None)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
TWO = {"dates": 2, "days": 60}


def on_day(day: float, place: str = "tile", **more: Any) -> Candidate:
    name = f"{place}-{day:06.1f}"
    facts = {"id": name, "datetime": BEGIN + timedelta(days=day), "source": name, "hrefs": (name,), "place": place}
    return Candidate.model_validate(facts | {"fingerprint": name} | more)


def chosen(found: list[Candidate], stack: Stack, dates: Dates = ANY) -> dict[str, list[str]]:
    entries = stacked(found, stack, dates)
    return {one.id: [e.id for e in one.earlier] for one in entries if isinstance(one, Candidate)}


def test_the_latest_dates_of_the_same_place_are_stacked():
    found = [on_day(d) for d in (0, 10, 20, 30)] + [on_day(25, "other")]
    assert chosen(found, Stack(dates=3, days=25)) == {
        "tile-0020.0": ["tile-0010.0", "tile-0000.0"],
        "tile-0030.0": ["tile-0020.0", "tile-0010.0"],
    }


def test_dates_that_are_too_near_too_old_or_too_cloudy_are_passed_over():
    found = [on_day(0), on_day(10, cloud_cover=5), on_day(20, cloud_cover=60), on_day(29.9), on_day(30, cloud_cover=90)]
    stack = Stack(dates=2, days=25, apart=1, max_cloud=20)
    assert chosen(found, stack)["tile-0030.0"] == ["tile-0010.0"]  # the scene itself may be as cloudy as max_cloud lets
    assert "tile-0030.0" not in chosen(found, stack.model_copy(update={"days": 15.0}))


def test_a_scheduled_search_reaches_back_for_earlier_dates_and_takes_the_new_scenes_alone(tmp_path: Path):
    scenes, _ = stacked_scenes(tmp_path)
    since = Dates.of(None, since="2024-07-20")
    (one,), refused = search(scenes, None, since)
    assert (one.id, [e.id for e in one.earlier], refused) == ("late", ["early"], [])
    assert [c.id for c in search(scenes, None, ANY)[0]] == ["late"]


@given(st.lists(st.integers(0, 60), unique=True, max_size=12), st.integers(2, 4), st.integers(1, 9))
def test_dates_of_a_stack_lie_apart_and_within_reach(days: list[int], dates: int, apart: int):
    stack = Stack(dates=dates, days=40, apart=apart)
    for one in stacked([on_day(d) for d in days], stack, ANY):
        assert isinstance(one, Candidate) and len(one.dates) == dates
        times = [date.datetime for date in one.dates]
        assert all(a - b >= timedelta(days=apart) for a, b in pairwise(times))
        assert times[0] - times[-1] <= timedelta(days=40)


def test_an_earlier_date_that_changes_or_arrives_late_makes_the_stack_anew():
    stack = Stack(dates=2, days=60)
    (before,) = stacked([on_day(0), on_day(30)], stack, Dates(BEGIN + timedelta(days=9), None))
    (changed,) = stacked([on_day(0, fingerprint="new"), on_day(30)], stack, Dates(BEGIN + timedelta(days=9), None))
    *_, late = stacked([on_day(0), on_day(10), on_day(30)], stack, Dates(BEGIN + timedelta(days=20), None))
    assert len({before.fingerprint, changed.fingerprint, late.fingerprint}) == 3


def test_scenes_without_date_or_grid_are_refused_with_the_reason():
    undated, nowhere = stacked([on_day(1, dated=False), on_day(2, place="")], Stack(dates=2, days=9), ANY)
    assert isinstance(undated, Refused) and "states no date" in undated.reason
    assert isinstance(nowhere, Refused) and "on which grid" in nowhere.reason


def test_what_an_item_says_of_its_grid_tells_its_place(tmp_path: Path):
    files = write_scene_files(tmp_path / "files", offset=-1000)

    def stacks(*grids: dict[str, Any], **changes: Any) -> list[str]:
        days = range(1, len(grids) + 1)
        items = [item(f"d{d}", files, when=f"2024-07-0{d}T14:00:00Z", **g) for d, g in zip(days, grids, strict=True)]
        return [c.id for c in search(params(write_catalog(tmp_path, items), **changes), None, ANY)[0]]

    one = {"proj:code": "EPSG:32721", "proj:transform": [10, 0, 600000, 0, -10, 9000000]}
    same = {"proj:code": "EPSG:32721", "proj:transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 9000000.0, 0, 0, 1]}
    assert stacks(one, same, stack=TWO) == ["d2"]
    assert stacks(one, one | {"proj:code": "EPSG:32722"}, stack=TWO) == []
    assert stacks({"grid:code": "MGRS-21JYG"}, {"grid:code": "MGRS-21JYH"}, stack=TWO) == []
    strange = {"proj:transform": ["ten"]}
    assert stacks(strange, strange) == ["d1", "d2"]  # of no matter where nothing is stacked
    assert stacks(strange, strange, stack=TWO) == []


def stacked_scenes(folder: Path, **changes: Any) -> tuple[Scenes, dict[str, dict[str, Path]]]:
    """A catalog of an early scene without the offset and a late one with it, and the parameters of a stack of two."""
    cloudy = np.full((128, 128), 4, np.uint8)
    cloudy[100:, :64] = 9
    files = {
        "early": write_scene_files(folder / "early", seed=1, scl=cloudy),
        "late": write_scene_files(folder / "late", offset=-1000, seed=2),
    }
    items = [
        item("early", files["early"], when="2024-07-01T14:00:00Z", **{"s2:processing_baseline": "03.01"}),
        item("late", files["late"], when="2024-08-01T14:00:00Z"),
    ]
    return params(write_catalog(folder, items), **{"stack": TWO} | changes), files


def fetched(scenes: Scenes, staging: Path) -> tuple[Scene, np.ndarray, np.ndarray]:
    (candidate,), _ = search(scenes, None, ANY)
    scene = fetch(candidate, scenes, None, staging)
    with rasterio.open(scene.image_path(staging)) as image, rasterio.open(scene.mask_path(staging)) as mask:
        assert image.descriptions == ("B02", "B03", "B11", "B02-1", "B03-1", "B11-1")
        return scene, image.read(), mask.read(1)


def test_a_stack_holds_the_pixels_of_each_date_with_its_own_radiometry_under_one_mask(tmp_path: Path):
    scenes, files = stacked_scenes(tmp_path)
    scene, pixels, mask = fetched(scenes, tmp_path / "staging")
    for place, path in ((0, files["late"]["B02"]), (3, files["early"]["B02"]), (4, files["early"]["B03"])):
        with rasterio.open(path) as source:
            assert np.array_equal(pixels[place], source.read(1))
    assert [round(band.offset, 3) for band in scene.bands] == [-0.1] * 3 + [0.0] * 3  # two baselines in one image
    assert (mask[:16] == MaskBit.NODATA).all()
    assert (mask[200:, :128] == MaskBit.CLOUD).all() and not mask[200:, 128:].any()  # of the early date alone
    assert scene.id == "late" and scene.datetime.month == 8
    assert scene.cloud_share == pytest.approx(56 * 128 / (240 * 256))
    assert "late: Offset -1000" in scene.radiometry and "early: Offset 0" in scene.radiometry


def test_clouds_of_earlier_dates_can_be_left_for_the_network_to_see(tmp_path: Path):
    scenes, _ = stacked_scenes(tmp_path, stack=TWO | {"clouds": "seen"})
    scene, _, mask = fetched(scenes, tmp_path / "staging")
    assert (mask[:16] == MaskBit.NODATA).all() and not mask[16:].any()
    assert scene.cloud_share == 0


def test_the_item_of_a_stack_links_to_those_of_all_its_dates(tmp_path: Path):
    _, files = stacked_scenes(tmp_path)
    for number, (name, found) in enumerate(files.items()):
        document = read_json(tmp_path / f"item{number}.json")
        for key, path in found.items():
            document["assets"][key]["href"] = f"./{path.relative_to(tmp_path)}"
        write_json(tmp_path / f"item{number}.json", document)
        assert document["id"] == name
    with file_server(tmp_path) as (base, _):
        fetched(params(f"{base}/catalog.json", stack=TWO), tmp_path / "staging")
        links = read_json(item_path(tmp_path / "staging", "late"))["links"]
    assert [link["href"] for link in links if link["rel"] == "via"] == [f"{base}/item1.json", f"{base}/item0.json"]


def test_without_data_in_one_date_a_pixel_has_none(tmp_path: Path):
    scenes, files = stacked_scenes(tmp_path)
    with rasterio.open(files["early"]["B02"], "r+") as band:
        hole = band.read(1)
        hole[50:60, 70:80] = 0
        band.write(hole, 1)
    _, _, mask = fetched(scenes, tmp_path / "staging")
    assert (mask[50:60, 70:80] == MaskBit.NODATA).all() and not mask[61:190].any()


def test_dates_of_two_grids_are_refused_by_name(tmp_path: Path):
    scenes, files = stacked_scenes(tmp_path)  # whose items say nothing of their grid, so the footprint tells the place
    for band in ("B02", "B03"):
        with rasterio.open(files["early"][band]) as source:
            coarse = source.read(1)[::2, ::2]
        write_band(files["early"][band], coarse, pixel=20)
    (candidate,), _ = search(scenes, None, ANY)
    with pytest.raises(
        BadData, match=r"late cannot be stacked on early: its transform is \(10.0, .*there \(20.0, .*one grid"
    ):
        fetch(candidate, scenes, None, tmp_path / "staging")
    assert not list((tmp_path / "staging").glob("scenes/*"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stack": {"dates": 4, "days": 30, "apart": 15}}, "4 dates 15 days apart do not fit into 30 days"),
        ({"stack": TWO, "bands": ["a", "a-1"], "assets": []}, "band names must differ"),
        ({"stack": {"dates": 1, "days": 30}}, "greater than or equal to 2"),
    ],
)
def test_stacks_that_cannot_be_are_refused_at_once(changes: dict[str, Any], sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        params("source", **changes)


def test_stacks_are_made_once_as_their_dates_arrive_and_anew_when_one_of_these_changes(tmp_path: Path) -> None:
    whens = {"july": "2024-07-01T14:00:00Z", "august": "2024-08-01T14:00:00Z", "september": "2024-09-01T14:00:00Z"}
    files = {n: write_scene_files(tmp_path / n, offset=-1000, seed=i) for i, n in enumerate(whens)}
    write_catalog(tmp_path, [item(n, files[n], when=when) for n, when in whens.items()])
    project = Project(tmp_path / "project", tmp_path)
    values = yaml.safe_load((project.folder / "params.yaml").read_text())
    values["scenes"]["stack"] = {"dates": 2, "days": 40}
    (project.folder / "params.yaml").write_text(yaml.safe_dump(values))
    assert project.swath("all", "--until", "2024-08-15")["ids"] == ["august"]
    assert project.swath("all", "--since", "2024-08-15")["ids"] == ["september"]
    assert project.swath("all")["changed"] is False
    bands = ["B02", "B03", "B11", "B02-1", "B03-1", "B11-1"]
    assert [[b.name for b in scene.bands] for scene in read_scenes(project.catalog)] == [bands, bands]
    before = project.tree()
    write_scene_files(tmp_path / "july", offset=-1000, seed=9)
    assert project.swath("all")["ids"] == ["august"]  # the one that july lies in
    changed = {Path(name).parts[-2] for name, digest in project.tree().items() if before[name] != digest}
    assert changed == {"august"}
