"""The steps of a watch on disk: what is collected, the page, the places and the decision."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine

from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.monitoring.looks import Looks
from pipelines.monitoring.watch import collect, compare_run, decide_run, report_run
from pipelines.scenes.catalog import write_item
from tests.builders import write_scene
from tests.monitoring.world import BANDS, PARAMS, SIDE, Ground, observed, pixels, training

NOW = datetime(2025, 6, 1, tzinfo=UTC)
GRID = {"driver": "GTiff", "count": 1, "width": SIDE, "height": SIDE, "crs": "EPSG:32721"}
GRID |= {"transform": Affine(10, 0, 500_000, 0, -10, 9_000_000)}


class Page(HTMLParser):
    """What a reader sees, and whether each element that was opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "rect", "path", "link"):
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        if tag not in ("rect", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def put_map(root: Path, number: int, **fault) -> str:
    """A mapped scene as prediction leaves it: profile, class map, confidence; and its image in the catalog."""
    ground = Ground(f"scene-{number}", datetime=datetime(2025, 1, 1 + number, tzinfo=UTC))
    folder = root / "maps" / ground.id
    folder.mkdir(parents=True)
    observed(ground, 900 + number, **fault).write(folder / "profile.bin")
    image, probabilities = pixels(900 + number)
    scene = write_scene(root / "catalog", np.clip(image * 1e4, 1, 6e4).astype(np.uint16), id=ground.id, bands=BANDS)
    write_item(root / "catalog" / "scenes" / scene.id, scene, fingerprint="", dated=True, bands=[])
    with rasterio.open(folder / "classes.tif", "w", dtype="uint8", nodata=255, **GRID) as out:
        out.write(probabilities.argmax(axis=0).astype(np.uint8), 1)
        out.write_colormap(1, {0: (1, 2, 200, 255), 1: (0, 99, 0, 255), 2: (200, 200, 0, 255)})
    with rasterio.open(folder / "confidence.tif", "w", dtype="float32", nodata=-1, **GRID) as out:
        out.write(probabilities.max(axis=0), 1)
    return ground.id


@pytest.fixture
def root(tmp_path: Path) -> Path:
    training(tmp_path / "reference" / "inputs", seasons=("summer",))
    return tmp_path


def watch(root: Path, run: str = "run-1", now: datetime = NOW):
    folder = root / "drift" / run
    collect(root / "maps", "3", folder, PARAMS)
    compare_run(root / "maps", root / "reference", folder, PARAMS)
    report_run(root / "maps", root / "catalog", Looks.none(BANDS), folder, PARAMS, project="sample")
    return decide_run(folder, root / "drift" / "retrain.json", PARAMS, now)


def test_drift_from_maps_to_decision_and_page(root: Path):
    for number in range(4):
        put_map(root, number, offset=0.1 if number > 1 else 0.0)
    said = watch(root)
    assert (said["verdict"], said["retrain"]) == ("drift", True)
    text = (root / "drift" / "run-1" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert said["sentence"] in page.text
    assert "was probably not applied" in page.text
    assert all(f"scene-{number}" in page.text for number in range(4))
    pictures = [a for a in page.addresses if a.startswith("data:image/png;base64,")]
    assert len(pictures) == 8 and pictures == page.addresses  # an image and a map a scene, and nothing from elsewhere
    assert all(base64.b64decode(p.split(",")[1]).startswith(b"\x89PNG") for p in pictures)
    assert {p["properties"]["scene"] for p in read_json(root / "drift" / "run-1" / "places.geojson")["features"]} == {
        "scene-2",
        "scene-3",
    }


def test_usual_scenes_make_a_quiet_page(root: Path):
    for number in range(3):
        put_map(root, number)
    said = watch(root)
    assert (said["verdict"], said["retrain"]) == ("none", False)
    page = Page((root / "drift" / "run-1" / "report.html").read_text(encoding="utf-8"))
    assert said["sentence"] in page.text
    assert "Worth labelling" not in page.text and "What moved" not in page.text


def test_a_run_repeated_after_a_later_call_still_says_that_it_called(root: Path):
    for number in range(2):
        put_map(root, number, offset=0.1)
    assert watch(root, "a")["retrain"]
    assert not watch(root, "b", NOW + timedelta(days=1))["retrain"]
    assert not watch(root, "c", NOW + timedelta(days=8))["retrain"], "the same scenes have called already"
    put_map(root, 2, offset=0.1)
    assert watch(root, "d", NOW + timedelta(days=9))["retrain"]
    assert watch(root, "a", NOW + timedelta(days=10))["retrain"]


def test_repeating_a_run_gives_the_same_bytes(root: Path):
    for number in range(3):
        put_map(root, number, offset=0.1)
    watch(root)
    folder = root / "drift" / "run-1"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    watch(root)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert {"scenes.json", "comparison.json", "verdict.json", "report.html", "places.geojson", "01-scene-0.tif"} <= {
        path.name for path in before
    }


def test_a_damaged_profile_is_left_out_and_named(root: Path):
    put_map(root, 0)
    put_map(root, 1)
    (root / "maps" / "scene-0" / "profile.bin").write_bytes(b"broken")
    found = collect(root / "maps", "3", root / "drift" / "r", PARAMS)
    assert found.scenes == ("scene-1",)
    assert "scene-0" in found.unreadable[0]


def test_of_scenes_that_had_their_turn_no_more_is_read_than_when_they_were_taken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand whole profiles are more than a machine's memory."""
    monkeypatch.setattr("pipelines.monitoring.watch.KEPT", 4)
    for number in range(6):
        put_map(root, number)
    for number in (0, 5):
        path = root / "maps" / f"scene-{number}" / "profile.bin"
        path.write_bytes(path.read_bytes()[:-1000])
    found = collect(root / "maps", "3", root / "drift" / "r", PARAMS)
    assert found.scenes == ("scene-2", "scene-3", "scene-4")
    assert len(found.unreadable) == 1 and "scene-5" in found.unreadable[0]


def test_names_cannot_break_out_of_the_page(root: Path):
    put_map(root, 0, offset=0.1)
    folder = root / "drift" / "r"
    collect(root / "maps", "3", folder, PARAMS)
    compare_run(root / "maps", root / "reference", folder, PARAMS)
    report_run(root / "maps", root / "catalog", Looks.none(BANDS), folder, PARAMS, project="<script>alert(1)</script>")
    assert "<script" not in (folder / "report.html").read_text(encoding="utf-8")


def test_no_champion_yet_is_no_failure(root: Path):
    folder = root / "drift" / "r"
    collect(root / "maps" / "vNone", None, folder, PARAMS)
    compare_run(root / "maps", None, folder, PARAMS)
    page, verdict = report_run(root / "maps", root / "catalog", Looks.none(BANDS), folder, PARAMS, project="sample")
    assert verdict.verdict == "no sample" and "no champion" in page.read_text(encoding="utf-8")


def test_a_step_out_of_order_says_what_to_run_first(root: Path):
    with pytest.raises(BadData, match="swath drift compare --run r"):
        decide_run(root / "drift" / "r", root / "drift" / "retrain.json", PARAMS, NOW)
