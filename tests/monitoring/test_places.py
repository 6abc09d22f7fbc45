"""The labelling queue as files: outlines where they belong, image chips that a GIS opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform
from rasterio.windows import Window

from pipelines.config import load_params
from pipelines.files import read_json
from pipelines.inference.raster import Raster, in_bands
from pipelines.monitoring.drift import Comparison
from pipelines.monitoring.places import Place, places_of, worth_labelling, write_queue
from pipelines.monitoring.report import write_report
from pipelines.monitoring.verdict import judge
from tests.builders import write_scene
from tests.monitoring.world import BANDS

SIDE, HEIGHT, WIDTH = 64, 128, 160


@pytest.fixture
def scene(tmp_path: Path) -> Raster:
    pixels = np.random.default_rng(0).integers(100, 4000, (len(BANDS), HEIGHT, WIDTH)).astype(np.uint16)
    return in_bands(write_scene(tmp_path / "catalog", pixels, id="a", bands=BANDS), tmp_path / "catalog", BANDS)


@pytest.fixture
def confidence(scene: Raster, tmp_path: Path) -> Path:
    """Low in the lower left place, no data in the upper right."""
    values = np.full((HEIGHT, WIDTH), 180, np.uint8)
    values[64:, :64] = 60
    values[:64, 96:] = 255
    profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(tmp_path / "c.tif", "w", crs=scene.crs, transform=scene.affine, **profile) as out:
        out.write(values, 1)
        out.scales = (0.005,)
    return tmp_path / "c.tif"


def test_places_cover_the_scene_but_what_is_not_mapped(scene: Raster, confidence: Path):
    found = list(places_of(scene, confidence, SIDE))
    corners = [(place.window.row_off, place.window.col_off) for place in found]
    assert corners == [(0, 0), (0, 48), (64, 0), (64, 48), (64, 96)]
    assert [place.doubt for place in found] == pytest.approx([0.1, 0.1, 0.7, 0.1 + 0.6 / 4, 0.1], abs=1e-5)


def test_a_scene_smaller_than_a_place_is_one(scene: Raster, confidence: Path):
    (only,) = places_of(scene, confidence, 512)
    assert (only.window.width, only.window.height) == (WIDTH, HEIGHT)


def test_the_queue_is_outlines_in_degrees_and_chips_of_the_scene(scene: Raster, confidence: Path, tmp_path: Path):
    none = np.empty((0, 2 * len(BANDS)), np.float32)
    write_queue(tmp_path / "run", worth_labelling(places_of(scene, confidence, SIDE), none, most=2))
    first, _ = read_json(tmp_path / "run" / "places.geojson")["features"]
    assert first["properties"] == {
        "number": 1,
        "scene": "a",
        "longitude": pytest.approx(min(x for x, _ in first["geometry"]["coordinates"][0]), abs=1e-3),
        "latitude": pytest.approx(max(y for _, y in first["geometry"]["coordinates"][0]), abs=1e-3),
        "confidence": 0.3,
        "chip": "places/01-a.tif",
    }
    with rasterio.open(scene.image) as image, rasterio.open(tmp_path / "run" / first["properties"]["chip"]) as chip:
        np.testing.assert_array_equal(chip.read(), image.read()[:, 64:, :64])
        assert (chip.crs, chip.descriptions, chip.scales) == (image.crs, image.descriptions, image.scales)
        ring = np.array(first["geometry"]["coordinates"][0])
        xs, ys = transform("EPSG:4326", chip.crs, ring[:, 0], ring[:, 1])
        assert (min(xs), min(ys), max(xs), max(ys)) == pytest.approx(tuple(chip.bounds), abs=0.5)


def test_a_place_on_the_antimeridian_is_told_in_the_report(tmp_path: Path):
    pixels = np.full((len(BANDS), SIDE, SIDE), 500, np.uint16)
    corner = (819_451 - 320, 8_117_998 + 320)  # near Fiji, half of it beyond 180 degrees
    made = write_scene(tmp_path / "catalog", pixels, id="a", bands=BANDS, crs="EPSG:32760", origin=corner)
    place = Place(in_bands(made, tmp_path / "catalog", BANDS), Window(0, 0, SIDE, SIDE), 0.7, np.zeros(2, np.float32))
    queue = write_queue(tmp_path / "run", [place])
    (only,) = queue["features"]
    assert only["geometry"]["type"] == "MultiPolygon" and abs(only["properties"]["longitude"]) > 179.9
    comparison = Comparison(version="4", has_reference=True, scenes=(), groups=())
    verdict = judge(comparison, load_params().drift)
    write_report(tmp_path / "drift.html", comparison, verdict, {}, queue, project="p", run="r")
    assert f"{only['properties']['longitude']:.5f}" in (tmp_path / "drift.html").read_text()


def test_a_queue_made_again_leaves_no_chip_of_the_former(scene: Raster, confidence: Path, tmp_path: Path):
    none = np.empty((0, 2 * len(BANDS)), np.float32)
    places = list(places_of(scene, confidence, SIDE))
    write_queue(tmp_path, worth_labelling(places, none))
    write_queue(tmp_path, worth_labelling(places, none, most=1))
    assert [path.name for path in (tmp_path / "places").iterdir()] == ["01-a.tif"]
