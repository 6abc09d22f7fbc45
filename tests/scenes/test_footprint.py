"""Footprints, over the antimeridian and the pole as well."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.warp import transform as reproject
from shapely.geometry import Point, box, mapping, shape

from pipelines.errors import BadData
from pipelines.scenes.area import bounds_of, intersects, parse
from pipelines.scenes.footprint import footprint
from pipelines.scenes.window import window_of
from tests.builders import write_scene

GEOD = Geod(ellps="WGS84")


def of(crs: str, west: float, north: float, side: float = 100_000, pixel: float = 100) -> tuple:
    pixels = int(side / pixel)
    return footprint(crs, Affine(pixel, 0, west, 0, -pixel, north), pixels, pixels, "scene")


@pytest.mark.parametrize(
    ("crs", "west", "north", "crosses"),
    [
        ("EPSG:32721", 500_000, 9_000_000, False),
        ("EPSG:32660", 780_000, 1_200_000, True),
        ("EPSG:32701", 140_000, 8_200_000, True),
        ("EPSG:32633", 400_000, 9_200_000, False),  # 82 degrees north
        ("EPSG:32660", 520_000, 9_200_000, True),
    ],
)
def test_a_footprint_has_the_ground_of_its_pixels(crs: str, west: float, north: float, crosses: bool) -> None:
    geometry, (left, bottom, right, top) = of(crs, west, north)
    outline = shape(geometry)
    assert outline.is_valid and (left > right) is crosses and (geometry["type"] == "MultiPolygon") is crosses
    scale = abs(GEOD.geometry_area_perimeter(outline)[0]) / 1e10
    assert scale == pytest.approx(1, abs=0.004)  # UTM's own scale is 0.9996 to 1.001 along a line
    inset = np.array([1_000, 99_000, 50_000])
    longitudes, latitudes = reproject(crs, "EPSG:4326", (west + inset).tolist(), (north - inset).tolist())
    for x, y in zip(longitudes, latitudes, strict=True):
        assert outline.contains(Point(x, y)) and bottom < y < top
        assert (left < x or x < right) if crosses else (left < x < right)


def test_a_raster_around_the_pole_holds_every_longitude() -> None:
    geometry, (_, south, _, north) = of("EPSG:3413", -300_000, 300_000, side=600_000, pixel=1_000)
    outline = shape(geometry)
    assert outline.is_valid and north == 90 and 86 < south < 87.5
    assert all(outline.covers(Point(x, 89)) for x in range(-179, 180, 7))


def test_what_has_no_place_on_earth_is_refused() -> None:
    with pytest.raises(BadData, match="scene has coordinates"):
        of("EPSG:4326", 500_000, 9_000_000)


def test_an_area_over_the_antimeridian_meets_what_lies_on_either_side_and_nothing_else() -> None:
    area = parse("179,-20,-179,-10")
    over, east = of("EPSG:32701", 140_000, 8_200_000)[0], of("EPSG:32701", 500_000, 8_200_000)[0]
    assert intersects(area, over) and not intersects(area, east)
    assert not intersects(parse("-178,-20,178,-10"), {"type": "Point", "coordinates": [179.9, -15]})
    with pytest.raises(BadData, match="west < east"):
        parse("10,0,10,5")


def tile(crs: str, pixel: float, west: float, north: float, width: int = 1000, height: int = 1000) -> SimpleNamespace:
    grid = Affine(pixel, 0, west, 0, -pixel, north)
    return SimpleNamespace(crs=CRS.from_user_input(crs), transform=grid, width=width, height=height)


@pytest.mark.parametrize("first", [179.0, -181.0])
def test_a_raster_in_degrees_that_counts_on_beyond_the_antimeridian_is_cut_there(first: float) -> None:
    raster = tile("EPSG:4326", 0.01, first, -14, width=200, height=300)
    window = window_of(parse("179.5,-16,-179.75,-15"), raster, "tile")
    assert (window.col_off, window.row_off, window.width, window.height) == (50, 100, 75, 100)


def test_the_whole_globe_and_an_area_without_the_raster_are_told_apart() -> None:
    raster = tile("EPSG:32633", 10, 400_000, 5_500_000, width=200, height=100)
    window = window_of(parse("-180,-90,180,90"), raster, "tile")
    assert (window.col_off, window.row_off, window.width, window.height) == (0, 0, 200, 100)
    with pytest.raises(BadData, match="no pixels"):
        window_of(parse("100,0,110,10"), raster, "tile")


def test_an_area_may_be_drawn_as_several_shapes_and_beyond_the_antimeridian(tmp_path: Path) -> None:
    def drawn(*squares: tuple[float, float]) -> Path:
        features = [
            {"type": "Feature", "properties": {}, "geometry": mapping(box(x, y, x + 2, y + 1))} for x, y in squares
        ]
        (tmp_path / "area.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return tmp_path / "area.geojson"

    assert bounds_of(drawn((10, 50), (14, 52))) == (10, 50, 16, 53)
    assert bounds_of(drawn((179, -17))) == (179, -17, -179, -16)
    assert bounds_of(drawn((178, -17), (-180, -17))) == (178, -17, -178, -16)


def test_the_window_of_an_area_over_the_antimeridian_is_cut_on_both_sides() -> None:
    window = window_of(parse("179.9,10.2,-179.9,10.4"), tile("EPSG:32660", 100, 780_000, 1_200_000), "tile")
    x, _ = reproject("EPSG:4326", "EPSG:32660", [179.9, -179.9], [10.3, 10.3])
    assert window.col_off == pytest.approx((x[0] - 780_000) / 100, abs=3)
    assert window.width == pytest.approx((x[1] - x[0]) / 100, abs=4)


@pytest.mark.parametrize(
    ("bbox", "zone"),
    [
        ((179.2, -17.0, -179.4, -16.0), "60S"),
        ((179.8, 62.0, -179.0, 63.0), "01N"),
        ((-54.0, -30.0, -53.0, -29.0), "22S"),
    ],
)
def test_a_scene_over_the_antimeridian_is_of_the_zone_of_its_centre(
    bbox: tuple[float, float, float, float], zone: str, tmp_path: Path
) -> None:
    scene = write_scene(tmp_path, np.ones((1, 8, 8), np.uint16), id="a")
    assert scene.model_copy(update={"bbox": bbox}).zone == zone


@pytest.mark.parametrize("first", [-180, 0, -10])
def test_a_grid_around_the_whole_globe_is_everywhere(first: float) -> None:
    outline, bbox = footprint("EPSG:4326", Affine(1, 0, first, 0, -1, 90), 360, 180, "globe")
    assert bbox == (-180, -90, 180, 90) and shape(outline).area == 360 * 180
