import json
import shutil
from pathlib import Path

import pystac
import pytest

from pipelines.errors import BadData
from pipelines.files import sha256
from pipelines.sample import region as module
from pipelines.sample.drift import parse_drift
from pipelines.sample.region import Order, make_region
from tests.sample.conftest import SMALL


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_seed_gives_same_bytes(region: Path, tmp_path: Path) -> None:
    make_region(tmp_path / "again", SMALL)
    assert digests(tmp_path / "again") == digests(region)


def test_another_seed_gives_other_land(region: Path, tmp_path: Path) -> None:
    make_region(tmp_path, SMALL.model_copy(update={"seed": 4, "scenes": 1, "unlabelled": 0}))
    here, there = digests(tmp_path), digests(region)
    images = [name for name in here if name.endswith(".tif")]
    assert len(images) == 7
    assert all(here[name] != there[name] for name in [*images, "labels.gpkg"])


def test_a_region_may_grow_and_is_the_same_as_if_made_at_once(region: Path, tmp_path: Path) -> None:
    first = make_region(tmp_path, SMALL.model_copy(update={"scenes": 1, "unlabelled": 0}))
    then = make_region(tmp_path, SMALL)
    assert (first["made"], then["made"]) == (1, 4)
    assert digests(tmp_path) == digests(region)


def test_same_order_again_touches_nothing(region: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in region.rglob("*")}
    assert make_region(region, SMALL)["made"] == 0
    assert {p: p.stat().st_mtime_ns for p in region.rglob("*")} == before


def test_drifted_scenes_are_added_to_what_is_there(region: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(region, folder)
    former = digests(folder)
    drift = parse_drift("gain:0.5")
    made = make_region(folder, SMALL.model_copy(update={"drift": drift, "scenes": 2, "unlabelled": 0}))
    assert made == {**made, "made": 2, "scenes": 7}
    now = digests(folder)
    assert all(now[name] == former[name] for name in former if name not in ("catalog.json", "sample.json"))
    items = list(pystac.Catalog.from_file(folder / "catalog.json").get_items())
    marked = [i for i in items if i.properties["sample:drift"] == "gain:0.5"]
    assert len(items) == 7 and len(marked) == 2
    newest_undrifted = max(i.datetime for i in items if i not in marked)
    assert all(i.datetime > newest_undrifted for i in marked)


def test_an_interrupted_run_is_finished_by_the_next(
    region: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = module.write_scene, []

    def breaks_at_third(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        whole(*arguments)

    monkeypatch.setattr(module, "write_scene", breaks_at_third)
    with pytest.raises(KeyboardInterrupt):
        make_region(tmp_path, SMALL)
    assert not (tmp_path / "catalog.json").exists()
    monkeypatch.setattr(module, "write_scene", whole)
    make_region(tmp_path, SMALL)
    assert digests(tmp_path) == digests(region)


def test_another_region_is_not_written_over(region: Path, tmp_path: Path) -> None:
    before = digests(region)
    with pytest.raises(BadData, match="of size 128, not 96"):
        make_region(region, Order(size=96, seed=3))
    with pytest.raises(BadData, match="of seed 3, not 5"):
        make_region(region, Order(size=128, seed=5))
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(BadData, match=r"thesis\.docx"):
        make_region(tmp_path, SMALL)
    assert digests(region) == before


def test_unlabelled_scenes_lie_where_no_labels_are(region: Path) -> None:
    scenes = json.loads((region / "sample.json").read_text())["scenes"]
    places = {s["place"]: s["labelled"] for s in scenes.values()}
    assert places == {"21JYG": True, "22JCM": True, "22JEM": False}


def test_labels_of_an_order_that_was_cut_off_are_not_taken_for_those_of_another(
    region: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.sample.region.write_catalog", die)
        with pytest.raises(KeyboardInterrupt):
            make_region(tmp_path / "again", SMALL.model_copy(update={"seed": 99}))
    make_region(tmp_path / "again", SMALL)
    assert (tmp_path / "again" / "labels.gpkg").read_bytes() == (region / "labels.gpkg").read_bytes()
