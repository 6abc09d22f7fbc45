from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize

from pipelines.config import load_params
from pipelines.sample.acquisition import LABELLED
from pipelines.sample.ground import Cover, make_ground

ROOT = Path(__file__).parents[2]


def read(region: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(region / "labels.gpkg")


def test_labels_are_valid_and_of_the_classes_in_params(region: Path, monkeypatch) -> None:
    table = read(region)
    assert table.crs.to_epsg() == 4326
    assert table.is_valid.all()
    assert set(table.geom_type) <= {"Polygon", "MultiPolygon"}
    monkeypatch.setenv("SWATH_HOME", "/nowhere")
    classes = {c.name: c.value for c in load_params(ROOT / "params.yaml").labels.classes}
    assert classes == {cover.label: cover.value for cover in Cover}
    assert set(table["class"]) == set(classes)


def test_labels_give_back_the_ground_pixel_for_pixel(region: Path) -> None:
    table = read(region)
    for place in LABELLED:
        ground = make_ground(3, place.name, 128)
        here = table[table.place == place.name].to_crs(place.epsg)
        shapes = zip(here.geometry, (Cover[n.upper().replace("-", "_")] for n in here["class"]), strict=True)
        burned = rasterize(shapes, (128, 128), transform=Affine(10, 0, place.east, 0, -10, place.north), dtype="uint8")
        np.testing.assert_array_equal(burned, ground.cover)


def test_labels_cover_the_places_once_and_nothing_else(region: Path) -> None:
    for place in LABELLED:
        here = read(region).query("place == @place.name").to_crs(place.epsg)
        square = shapely.box(place.east, place.north - 1280, place.east + 1280, place.north)
        assert abs(here.area.sum() - square.area) < 1.0
        assert here.union_all().symmetric_difference(square).area < 1.0
