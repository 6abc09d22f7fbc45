"""Tiles of known ground: each pixel has the colour that its class, its confidence or its bands ask for."""

from __future__ import annotations

import io
import os
import time
from datetime import date
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.windows import Window

from pipelines.atlas import tiles
from pipelines.atlas.composites import combinations, picture, stretch_of
from pipelines.atlas.layers import Atlas, open_atlas, touch
from pipelines.atlas.pixel import pixel_at
from pipelines.atlas.tiles import CLOUD, Kind, tile
from pipelines.atlas.truth import _write
from pipelines.errors import BadData
from pipelines.inference.layers import layers
from pipelines.inference.outlines import write_objects
from pipelines.inference.writer import MapWriter
from pipelines.labels.source import LabelSource
from pipelines.scenes.scene import MaskBit, Scene
from pipelines.training.objects import Objects
from tests.atlas.ground import CLASSES, PROJECT, SIDE, X, Y, Z, degrees, publish_map, publish_scene, village
from tests.builders import write_scene

CLEAR = (0, 0, 0, 0)


def drawn(atlas: Atlas, kind: Kind, x: int = X, y: int = Y, z: int = Z, **asked: object) -> NDArray[np.uint8]:
    """The tile as ``(rows, columns, 4)``."""
    image = Image.open(io.BytesIO(tile(atlas, kind, x, y, z, **asked)))  # type: ignore[arg-type]
    assert image.size == (SIDE, SIDE)
    return np.asarray(image.convert("RGBA"))


def test_classes_have_their_colours_and_no_data_shows_the_map_below(atlas: Atlas) -> None:
    shown = drawn(atlas, "classes", version=1)
    assert [tuple(shown[128, column]) for column in (10, 63, 64, 191, 192, 250)] == [
        (0, 0, 255, 255), (0, 0, 255, 255), (0, 255, 0, 255), (0, 255, 0, 255), (255, 0, 0, 255), (255, 0, 0, 255)
    ]  # fmt: skip
    assert (shown[..., 3] == 255).all()  # under the cloud of July lies the map of May
    july = drawn(atlas, "classes", version=1, scene="late")
    assert tuple(july[5, 100]) == CLEAR and tuple(july[250, 5]) == CLEAR
    assert tuple(july[128, 100]) == (0, 255, 0, 255)


def test_versions_differ_and_neighbouring_tiles_are_empty(atlas: Atlas) -> None:
    assert tuple(drawn(atlas, "classes", version=2)[128, 128]) == (255, 0, 0, 255)
    assert not drawn(atlas, "classes", x=X + 1, version=1)[:, 1:, 3].any()
    assert not drawn(atlas, "classes", x=X - 2, version=1)[..., 3].any()


def test_the_newest_scene_up_to_a_day_is_on_top(atlas: Atlas) -> None:
    bands = ("B04", "B03", "B02")
    stretch = stretch_of(atlas, bands)
    may, july = (drawn(atlas, "image", bands=bands, until=day) for day in (date(2024, 5, 31), date(2024, 7, 1)))
    for shown, value in ((may, 2000), (july, 2500)):
        expected = np.clip((value * 1e-4 - stretch[0, 0]) / (stretch[0, 1] - stretch[0, 0]), 0, 1) * 255
        assert abs(int(shown[128, 128, 0]) - expected) <= 1 and shown[128, 128, 3] == 255
    assert tuple(july[250, 5]) == tuple(may[250, 5])  # July has no data there
    assert not drawn(atlas, "image", bands=bands, until=date(2024, 4, 30))[..., 3].any()


@pytest.fixture
def detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Atlas:
    """A detector's two days: a wood, a house and a shed in May; the house alone in July, a cloud over the north."""
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    nothing, mask = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    mask[:32] = 2
    wood, house, shed = (1, (16, 8, 48, 24)), (2, (100, 100, 140, 160)), (2, (200, 200, 201, 201))
    days = (("early", "2024-05-01", nothing, [wood, house, shed]), ("late", "2024-07-01", mask, [house]))
    for id, day, hidden, seen in days:
        scene = publish_scene(tmp_path, id, day, np.full((4, SIDE, SIDE), 1000, np.uint16), hidden)
        folder = tmp_path / "predictions" / PROJECT / "v1" / id
        kinds, boxes = (np.array(part) for part in zip(*seen, strict=True))
        scores, cut = np.full(len(seen), 0.75, np.float32), np.zeros((len(seen), 4), bool)
        found = Objects(boxes.astype(np.float32), scores, kinds.astype(np.uint8), cut)
        folder.mkdir(parents=True)
        write_objects(found, scene, CLASSES, folder)
        publish_map(tmp_path, scene, 1, nothing, 0.8, hidden)
    return open_atlas(PROJECT)


def test_objects_are_outlined_by_the_newest_scene_that_sees_their_ground(detected: Atlas) -> None:
    wood, house, shed = (8, 30), (130, 100), (200, 200)  # a pixel of each outline; the shed is a dot
    may = drawn(detected, "objects", version=1, scene="early")
    assert [tuple(may[at]) for at in (wood, house, shed)] == [(0, 255, 0, 255), (255, 0, 0, 255), (255, 0, 0, 255)]
    assert tuple(may[130, 120]) == tuple(may[16, 32]) == CLEAR, "outlines are not filled"
    both = drawn(detected, "objects", version=1)
    assert [tuple(both[at]) for at in (wood, house, shed)] == [(0, 255, 0, 255), (255, 0, 0, 255), CLEAR]
    assert not drawn(detected, "objects", x=X + 1, version=1)[:, 2:, 3].any()


def test_a_place_tells_of_the_objects_that_it_lies_in(detected: Atlas) -> None:
    inside, beside = (pixel_at(detected, *degrees(*place), scene="early") for place in ((120, 120), (60, 60)))
    assert inside is not None and beside is not None
    assert inside.maps[0].objects == (("house", 0.75),) and beside.maps[0].objects == ()


def test_a_version_that_finds_no_objects_has_no_such_layer(atlas: Atlas) -> None:
    with pytest.raises(BadData, match="detects no objects"):
        drawn(atlas, "objects", version=1)


def test_confidence_and_clouds(atlas: Atlas) -> None:
    sure, unsure = (tuple(drawn(atlas, "confidence", version=v)[128, 128]) for v in (1, 2))
    assert sure != unsure and sure[3] == unsure[3] == 255
    clouds = drawn(atlas, "mask", scene="late")
    assert tuple(clouds[5, 128]) == CLOUD and tuple(clouds[128, 128]) == CLEAR


def test_seen_from_far_off_a_scene_is_a_dot_and_is_drawn_at_once(atlas: Atlas) -> None:
    drawn(atlas, "image", bands=("B04", "B03", "B02"))
    started = time.monotonic()
    world = drawn(atlas, "image", x=0, y=0, z=0, bands=("B04", "B03", "B02"))
    assert time.monotonic() - started < 5
    rows, columns = np.nonzero(world[..., 3])
    assert len(rows) == 1 and (columns[0], rows[0]) == (X * SIDE // 2**Z, Y * SIDE // 2**Z)


def test_a_map_without_errors_shows_none_from_far_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overviews of maps and labels are made in the same way."""
    side = 2_048
    coarse = np.random.default_rng(0).integers(0, 3, (side // 6 + 1, side // 6 + 1), dtype=np.uint8)
    truth = coarse.repeat(6, axis=0).repeat(6, axis=1)[:side, :side]
    scene = write_scene(tmp_path, np.zeros((1, side, side), np.uint16), bands=("B02",))

    class Known:
        def burn(self, scene: Scene, window: Window) -> NDArray[np.uint8]:
            return truth[window.toslices()]

    _write(cast("LabelSource", Known()), scene, tmp_path / "truth.tif")
    shown = layers(CLASSES)
    writer = MapWriter(tmp_path / ".work", scene, shown, "key")
    writer.write(slice(0, side), (truth == np.arange(3)[:, None, None]).astype(np.float32), np.zeros_like(truth))
    writer.finish(tmp_path, CLASSES)
    with rasterio.open(tmp_path / "truth.tif") as labels, rasterio.open(tmp_path / "classes.tif") as classes:
        assert labels.overviews(1) == classes.overviews(1) != []
        for factor in labels.overviews(1):
            small = (side // factor, side // factor)
            np.testing.assert_array_equal(labels.read(1, out_shape=small), classes.read(1, out_shape=small))


def test_scenes_are_read_anew_when_the_catalog_changes_and_not_for_each_new_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CATALOG", "PREDICTIONS", "REPORTS"):
        monkeypatch.delenv(f"SWATH_{name}", raising=False)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    flat, clear = np.full((4, SIDE, SIDE), 900, np.uint16), np.zeros((SIDE, SIDE), np.uint8)
    scene = publish_scene(tmp_path, "one", "2024-05-01", flat)
    before = open_atlas(PROJECT)
    publish_map(tmp_path, scene, 1, clear, 0.8, clear)
    mapped = open_atlas(PROJECT)
    assert not before.maps and mapped.maps == {1: {"one"}} and mapped.digest != before.digest
    assert mapped.scenes[0] is before.scenes[0]
    publish_scene(tmp_path, "two", "2024-05-02", flat)
    assert [scene.id for scene in open_atlas(PROJECT).scenes] == ["two", "one"]


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "classes", "version": 3},
        {"kind": "classes"},
        {"kind": "image", "bands": ("B04", "B03")},
        {"kind": "image", "bands": ("B04", "B03", "B99")},
        {"kind": "mask", "z": 3},
        {"kind": "mask", "z": 99, "x": 0, "y": 0},
    ],
)
def test_what_does_not_exist_is_refused_in_words(atlas: Atlas, asked: dict[str, object]) -> None:
    with pytest.raises(BadData):
        drawn(atlas, **asked)  # type: ignore[arg-type]


def test_a_picture_is_black_below_the_stretch_and_white_above(atlas: Atlas) -> None:
    pixels = np.array([0, 1000, 2000, 60000], np.uint16).reshape(1, 1, 4).repeat(3, axis=0)
    limits = np.array([[0.1, 0.2]] * 3, np.float32)
    shown = picture(atlas.scenes[0], pixels, ("B02", "B03", "B04"), limits)
    assert shown[0, 0].tolist() == [0, 0, 255, 255]


def test_where_only_the_mask_says_that_there_are_no_data_an_older_scene_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    pixels = np.full((4, SIDE, SIDE), 1500, np.uint16)
    pixels[:, :, ::2] = 300  # for a stretch
    publish_scene(tmp_path, "old", "2024-05-01", pixels)
    holes = np.zeros((SIDE, SIDE), np.uint8)
    holes[:, 128:] = MaskBit.NODATA
    newer = pixels.copy()
    newer[:, :, 128:] = 0
    scene = publish_scene(tmp_path, "new", "2024-07-01", newer, mask=holes, nodata=None)
    assert scene.nodata is None
    atlas = open_atlas(PROJECT)
    bands = ("B04", "B03", "B02")
    shown = drawn(atlas, "image", bands=bands)
    assert np.array_equal(shown[:, 132:], drawn(atlas, "image", bands=bands, scene="old")[:, 132:])


def test_newer_scenes_of_the_neighbourhood_hide_no_place_that_they_do_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.setattr("pipelines.atlas.tiles._MOST", 3)
    pixels = np.full((4, SIDE, SIDE), 1500, np.uint16)
    publish_scene(tmp_path, "old", "2024-05-01", pixels)
    for day in range(1, 6):
        publish_scene(tmp_path, f"new{day}", f"2024-07-0{day}", pixels[:, :, :128])
    atlas = open_atlas(PROJECT)
    read: list[str] = []
    before = tiles._read
    monkeypatch.setattr(tiles, "_read", lambda path, scene, *rest: read.append(scene.id) or before(path, scene, *rest))
    assert (drawn(atlas, "image", bands=("B04", "B03", "B02"))[..., 3] == 255).all()
    assert read == ["new5", "new4", "new3", "old"], "what shows the same ground as newer ones is not read"


def test_combinations_by_whatever_names_bands_go() -> None:
    assert list(combinations(("B02", "B03", "B04", "B08", "B11", "B12"))) == [
        "True colour", "Colour infrared", "Short-wave infrared", "Agriculture"
    ]  # fmt: skip
    assert combinations(("red", "green", "blue", "nir"))["Colour infrared"] == ("nir", "red", "green")
    assert list(combinations(("VV", "VH")).values()) == [("VV", "VV", "VV")]
    assert list(combinations(("x", "y", "z")).values()) == [("x", "y", "z")]


def test_boxes_meet_over_the_antimeridian() -> None:
    over = (179.0, -1.0, -179.0, 1.0)
    assert touch(over, (-179.5, 0, -179.4, 0.5)) and touch((179.5, 0, 179.6, 0.5), over)
    assert not touch(over, (0, 0, 1, 1)) and not touch(over, (179.5, 2, 179.6, 3))


@pytest.mark.parametrize("harm", ["gone", "cut", "item"])
def test_a_damaged_scene_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    village(tmp_path)
    before = open_atlas(PROJECT)
    newest = before.scenes[0]
    file = newest.image_path(before.catalog)
    if harm == "gone":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(file.read_bytes()[:300])
    else:
        item = before.catalog / "scenes" / newest.id / f"{newest.id}.json"
        item.write_text("")
        os.utime(before.catalog / "catalog.json", (2e9, 2e9))
    atlas = open_atlas(PROJECT)
    names = tuple(band.name for band in newest.bands[:3])
    assert drawn(atlas, "image", bands=names)[..., 3].any()
    assert pixel_at(atlas, *degrees(128, 100)).scene == "early"
