"""Mosaics over the borders of zones: nothing missing, nothing twice."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio.warp import transform as reproject
from rio_cogeo.cogeo import cog_validate
from shapely import box, segmentize

from pipelines.config.params import LabelClass
from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.inference.item import ITEM, hectares, map_item
from pipelines.inference.layers import layers
from pipelines.inference.mosaic import mosaic
from pipelines.inference.mosaic_grid import MosaicGrid
from pipelines.inference.writer import MapWriter

CLASSES = [LabelClass(name=n, value=i, color=f"#{i}080f0") for i, n in enumerate(("land", "river"))]
Signed = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]  # metres east, north: river above 0


def write_map(
    folder: Path,
    crs: str,
    origin: tuple[float, float],
    shape: tuple[int, int],
    river: Signed,
    model: str = "m",
    side: float = 10,
) -> Path:
    """A map by a model that knows the river and doubts within 20 m of its banks, on pixels of ``side`` metres."""
    grid = MosaicGrid(crs, Affine(side, 0, origin[0], 0, -side, origin[1]), shape[1], shape[0])
    columns, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    chance = 1 / (1 + np.exp(-river(*grid.affine @ (columns, rows)) / 10))
    shown = layers(CLASSES, ["probabilities"])
    writer = MapWriter(folder / ".work", grid, shown, "key")
    writer.write(slice(0, shape[0]), np.stack([1 - chance, chance]).astype(np.float32), np.zeros(shape, np.uint8))
    writer.finish(folder, CLASSES)
    item = map_item(folder, folder.name, grid, datetime(2024, 7, 1, tzinfo=UTC), shown, CLASSES)
    item.properties |= {"swath:model": model, "swath:model_sha256": model, "swath:project": "p"}
    write_json(folder / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))
    return folder


def around(longitude: float, latitude: float) -> tuple[str, Signed]:
    """A local projection, and a river in it: 60 m wide, straight, from south-west to north-east over the centre."""
    local = f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m"
    return local, lambda x, y: 30 - np.abs(y - x / 3)


def seen_from(crs: str, local: str, river: Signed) -> Signed:
    there = Transformer.from_crs(crs, local, always_xy=True)
    return lambda x, y: river(*there.transform(x, y))


PLACES = [
    pytest.param(12.0, 50.0, ("EPSG:32632", "EPSG:32633"), None, id="middle latitudes"),
    pytest.param(180.0, -17.0, ("EPSG:32760", "EPSG:32701"), None, id="antimeridian"),
    pytest.param(12.0, 82.0, ("EPSG:32632", "EPSG:32633"), "EPSG:3413", id="far north"),
    pytest.param(180.0, 82.0, ("EPSG:32660", "EPSG:32601"), "EPSG:32660", id="far north, antimeridian"),
]


@pytest.mark.parametrize(("longitude", "latitude", "zones", "onto"), PLACES)
def test_two_zones_make_one_map_without_a_gap_and_without_a_doubled_line(
    tmp_path: Path, longitude: float, latitude: float, zones: tuple[str, str], onto: str | None
) -> None:
    local, river = around(longitude, latitude)
    folders = []
    for zone, west in zip(zones, (-6_000, -1_000), strict=True):  # 7 km each, 2 km of them shared
        (x,), (y,) = reproject("EPSG:4326", zone, [longitude], [latitude])
        folder = tmp_path / zone.replace(":", "-")
        corner = (round(x / 10) * 10 + west, round(y / 10) * 10 + 3_000)
        folders.append(write_map(folder, zone, corner, (600, 700), seen_from(zone, local, river)))
    made = mosaic(folders, tmp_path / "mosaic", crs=onto, resolution=10 if onto else None)
    assert made.crs == (onto or zones[0])
    for name in ("classes.tif", "confidence.tif"):
        assert cog_validate(tmp_path / "mosaic" / name, strict=True)[0]
    with rasterio.open(tmp_path / "mosaic" / "classes.tif") as source:
        classes, transform = source.read(1), source.transform
    columns, rows = np.meshgrid(np.arange(classes.shape[1]) + 0.5, np.arange(classes.shape[0]) + 0.5)
    east, north = Transformer.from_crs(made.crs, local, always_xy=True).transform(*transform @ (columns, rows))
    inner = (np.abs(east) < 5_200) & (np.abs(north) < 1_800)
    assert (classes[inner] != 255).all()
    signed = river(east, north)
    assert inner.sum() > 100_000
    assert np.array_equal(classes[inner & (signed > 10)], np.ones((inner & (signed > 10)).sum()))
    assert np.array_equal(classes[inner & (signed < -10)], np.zeros((inner & (signed < -10)).sum()))
    item = pystac.Item.from_file(str(tmp_path / "mosaic" / ITEM))
    assert item.properties["swath:class_pixels"] == made.class_pixels
    assert len([link for link in item.links if link.rel == "derived_from"]) == 2
    assert (item.bbox[0] > item.bbox[2]) is (longitude == 180)


def test_one_map_on_its_own_grid_stays_as_it_is(tmp_path: Path) -> None:
    local, river = around(12, 50)
    (x,), (y,) = reproject("EPSG:4326", "EPSG:32633", [12.0], [50.0])
    folder = write_map(tmp_path / "one", "EPSG:32633", (x, y), (120, 90), seen_from("EPSG:32633", local, river))
    mosaic([folder], tmp_path / "mosaic", also=["probabilities"])
    with rasterio.open(folder / "probabilities.tif") as source:
        probabilities = source.read()
    assert (probabilities[0] != probabilities[1]).mean() > 0.9
    for name in ("classes.tif", "probabilities.tif", "confidence.tif"):
        with rasterio.open(folder / name) as before, rasterio.open(tmp_path / "mosaic" / name) as after:
            assert before.transform == after.transform
            far = np.abs(before.read().astype(int) - after.read())
        if name == "probabilities.tif":
            assert far.max() == 0
        else:  # a class may change where its probability, in bytes, is one half
            assert (far[0][probabilities[0] != probabilities[1]] <= (name == "confidence.tif")).all()


def turned(folder: Path, affine: Affine, side: int = 60) -> Path:
    """A map of nothing but rivers on a grid of any direction."""
    grid = MosaicGrid("EPSG:32633", affine, side, side)
    shown = layers(CLASSES, ["probabilities"])
    writer = MapWriter(folder / ".work", grid, shown, "key")
    river = np.stack([np.zeros((side, side)), np.ones((side, side))]).astype(np.float32)
    writer.write(slice(0, side), river, np.zeros((side, side), np.uint8))
    writer.finish(folder, CLASSES)
    item = map_item(folder, folder.name, grid, datetime(2024, 7, 1, tzinfo=UTC), shown, CLASSES)
    item.properties |= {"swath:model": "m", "swath:model_sha256": "m", "swath:project": "p"}
    write_json(folder / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))
    return folder


_CORNER = Affine.translation(500_000, 5_500_000)
NORTH_UP, SOUTH_UP = _CORNER @ Affine.scale(10, -10), _CORNER @ Affine.scale(10, 10)  # which lies north of the first


@pytest.mark.parametrize(
    ("grids", "shape"),
    [
        pytest.param([_CORNER @ Affine.rotation(30) @ Affine.scale(10, -10)], (82, 82), id="turned"),
        pytest.param([_CORNER @ Affine.rotation(90) @ Affine.scale(10, -10)], (60, 60), id="on its side"),
        pytest.param([NORTH_UP, SOUTH_UP], (120, 60), id="south up, last"),
        pytest.param([SOUTH_UP, NORTH_UP], (120, 60), id="south up, first"),
    ],
)
def test_maps_of_any_direction_are_whole_in_a_mosaic_that_is_north_up(
    tmp_path: Path, grids: list[Affine], shape: tuple[int, int]
) -> None:
    made = mosaic([turned(tmp_path / str(number), grid) for number, grid in enumerate(grids)], tmp_path / "mosaic")
    assert made.shape == shape
    assert made.class_pixels["river"] == pytest.approx(3_600 * len(grids), rel=0.03)
    with rasterio.open(tmp_path / "mosaic" / "classes.tif") as source:
        assert source.transform.b == source.transform.d == 0 and source.transform.a > 0 > source.transform.e


def test_more_maps_are_joined_than_a_process_may_hold_open(tmp_path: Path) -> None:
    flat: Signed = lambda x, y: np.ones_like(x)  # noqa: E731
    folders = [
        write_map(tmp_path / str(n), "EPSG:32633", (500_000 + 80 * n, 5_500_000), (8, 8), flat) for n in range(40)
    ]
    mosaic(folders[:1], tmp_path / "first")  # which opens what stays open
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 24, former[1]))
    try:
        assert mosaic(folders, tmp_path / "mosaic").class_pixels["river"] == 40 * 64
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_maps_on_both_sides_of_the_antimeridian_make_no_strip_around_the_globe(tmp_path: Path, crs: str) -> None:
    flat: Signed = lambda x, y: np.ones_like(x)  # noqa: E731
    folders = []
    for zone, longitude in (("EPSG:32760", 179.91), ("EPSG:32701", -179.91)):
        (x,), (y,) = reproject("EPSG:4326", zone, [longitude], [-17.0])
        folders.append(write_map(tmp_path / zone.replace(":", "-"), zone, (x, y), (50, 50), flat))
    with pytest.raises(BadData, match="both sides of the antimeridian"):
        mosaic(folders, tmp_path / "mosaic", crs=crs, resolution=1e-4 if crs == "EPSG:4326" else 10)
    assert mosaic(folders, tmp_path / "mosaic").shape[1] < 3_000
    one = mosaic(folders[:1], tmp_path / "one", crs=crs, resolution=1e-4 if crs == "EPSG:4326" else 10)
    assert one.shape[1] < 100


def test_where_maps_disagree_the_mean_of_their_probabilities_decides(tmp_path: Path) -> None:
    origin = (500_000, 5_500_000)
    folders = [
        write_map(tmp_path / name, "EPSG:32633", origin, (64, 64), lambda x, y, v=value: np.full_like(x, v))
        for name, value in (("sure", 30.0), ("doubting", -10.0))
    ]
    mosaic(folders, tmp_path / "mosaic", also=["probabilities"])
    with rasterio.open(tmp_path / "mosaic" / "probabilities.tif") as source:
        mean = (1 / (1 + np.exp(-3)) + 1 / (1 + np.exp(1))) / 2
        assert np.allclose(source.read(2) * 0.004, mean, atol=0.005)
        assert source.descriptions == ("land", "river") and source.scales == (0.004, 0.004)
    with rasterio.open(tmp_path / "mosaic" / "classes.tif") as source:
        assert (source.read(1) == 1).all()


def test_a_mosaic_that_was_cut_off_takes_no_rows_of_maps_that_were_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, west: float, value: float) -> Path:
        return write_map(tmp_path / name, "EPSG:32633", (west, 5.5e6), (64, 64), lambda x, y: np.full_like(x, value))

    maps = [made("steady", 5e5, 30.0), made("anew", 5e5 + 640, 30.0)]
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("pipelines.inference.mosaic._MEMORY", 1)  # a row at a time
        patched.setattr("pipelines.inference.mosaic.report", lambda done, *_: 1 // (done < 32))
        mosaic(maps, tmp_path / "mosaic")
    shutil.rmtree(tmp_path / "anew")
    made("anew", 5e5 + 640, -30.0)
    for name in ("mosaic", "fresh"):
        mosaic(maps, tmp_path / name)
    assert len({(tmp_path / name / "classes.tif").read_bytes() for name in ("mosaic", "fresh")}) == 1


def test_the_grid_is_that_of_most_maps(tmp_path: Path) -> None:
    flat: Signed = lambda x, y: np.ones_like(x)  # noqa: E731
    folders = [
        write_map(tmp_path / name, "EPSG:32633", (500_000 + 160 * i, 5_500_000), (16, 16), flat, side=side)
        for i, (name, side) in enumerate((("coarse", 20), ("fine", 10), ("finer", 10)))
    ]
    mosaic(folders, tmp_path / "mosaic")
    with rasterio.open(tmp_path / "mosaic" / "classes.tif") as source:
        assert source.transform == Affine(10, 0, 500_000, 0, -10, 5_500_000) and source.shape == (32, 48)
        assert (source.read(1)[:, :32] == 1).all()


def test_hectares_are_those_of_the_ground_where_pixels_shrink_towards_the_pole(tmp_path: Path) -> None:
    folder = tmp_path / "degrees"
    grid = MosaicGrid("EPSG:4326", Affine(0.01, 0, 10, 0, -0.01, 69), 20, 1_400)
    shown = layers(CLASSES)
    writer = MapWriter(folder / ".work", grid, shown, "key")
    north = np.zeros((2, 1_400, 20), np.float32)
    north[0, :700], north[1, 700:] = 1, 1
    writer.write(slice(0, 1_400), north, np.zeros((1_400, 20), np.uint8))
    pixels = writer.finish(folder, CLASSES)
    item = map_item(folder, "degrees", grid, datetime(2024, 7, 1, tzinfo=UTC), shown, CLASSES)
    item.properties |= {"swath:model": "m", "swath:model_sha256": "m", "swath:class_pixels": pixels}
    write_json(folder / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))
    found = hectares(folder, "m")
    written = read_json(folder / ITEM)
    written["properties"]["swath:ensemble_sha256"] = ["m", "n"]
    write_json(folder / ITEM, written)
    with pytest.raises(BadData, match="several models together"):
        hectares(folder, "m")
    for name, south in (("land", 62), ("river", 55)):
        square = abs(Geod(ellps="WGS84").geometry_area_perimeter(segmentize(box(10, south, 10.2, south + 7), 0.01))[0])
        assert found[name] == pytest.approx(square / 1e4, rel=2e-3)


def test_maps_of_two_models_or_without_probabilities_are_refused(tmp_path: Path) -> None:
    flat: Signed = lambda x, y: np.ones_like(x)  # noqa: E731
    one = write_map(tmp_path / "one", "EPSG:32633", (500_000, 5_500_000), (16, 16), flat)
    other = write_map(tmp_path / "other", "EPSG:32633", (500_000, 5_500_000), (16, 16), flat, model="another")
    with pytest.raises(BadData, match="different models"):
        mosaic([one, other], tmp_path / "mosaic")
    item = pystac.Item.from_file(str(one / ITEM))
    del item.assets["probabilities"]
    write_json(one / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))
    with pytest.raises(BadData, match="no probabilities"):
        mosaic([one], tmp_path / "mosaic")
    with pytest.raises(BadData, match="no map"):
        mosaic([tmp_path], tmp_path / "mosaic")
    over = write_map(tmp_path / "over", "EPSG:32660", (590_000, 8_000_000), (16, 400), flat, model="another", side=100)
    with pytest.raises(BadData, match="both sides of the antimeridian"):
        mosaic([over], tmp_path / "mosaic", crs="EPSG:4326", resolution=0.001)
    with pytest.raises(BadData, match="no CRS"):
        mosaic([other], tmp_path / "mosaic", crs="nowhere")
    assert not (tmp_path / "mosaic").exists()


def test_a_mosaic_takes_the_place_of_nothing_but_a_map(tmp_path: Path) -> None:
    flat: Signed = lambda x, y: np.ones_like(x)  # noqa: E731
    maps = tmp_path / "maps"
    one = write_map(maps / "one", "EPSG:32633", (500_000, 5_500_000), (16, 16), flat)
    (maps / "notes.txt").write_text("mine")
    with pytest.raises(BadData, match="holds something that is no map"):
        mosaic([one], maps)
    with pytest.raises(BadData, match="of which it is made"):
        mosaic([one], one)
    assert (one / "probabilities.tif").exists() and (maps / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        mosaic([one], tmp_path / "empty")
    assert (tmp_path / "empty" / ITEM).exists()


@pytest.mark.parametrize("west", [200.0, 179.99, -180.01])
def test_a_map_in_degrees_beyond_the_antimeridian_is_refused_and_not_lost(tmp_path: Path, west: float) -> None:
    flat: Signed = lambda x, y: np.ones_like(x)  # noqa: E731
    one = write_map(tmp_path / "one", "EPSG:4326", (west, -17.0), (32, 32), flat, side=0.001)
    with pytest.raises(BadData, match="beyond the antimeridian"):
        mosaic([one], tmp_path / "mosaic", crs="EPSG:32760", resolution=100)


def test_the_item_of_a_map_in_a_crs_of_esri_s_names_it_by_its_code(tmp_path: Path) -> None:
    flat: Signed = lambda x, y: np.ones_like(x)  # noqa: E731
    one = write_map(tmp_path / "one", "ESRI:54009", (1_000_000, 5_500_000), (16, 16), flat)
    told = read_json(one / ITEM)["properties"]
    assert told["proj:code"] == "ESRI:54009" and "proj:wkt2" not in told
