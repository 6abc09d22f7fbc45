from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, Polygon, box

from pipelines.config.params import LabelClass, Labels
from pipelines.errors import BadData
from pipelines.labels import burn, open_labels
from pipelines.labels.source import boxes_of
from pipelines.scenes.scene import Scene
from tests.builders import UTM_21S, write_scene

WEST, NORTH = 500_000.0, 9_000_000.0
CLASSES = (
    LabelClass(name="water", value=10, color="#000000"),
    LabelClass(name="forest", value=20, color="#111111"),
    LabelClass(name="bare", value=30, color="#222222"),
)


def labels(**values: object) -> Labels:
    return Labels.model_validate({"source": "x", "field": "class", "classes": CLASSES} | values)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return write_scene(tmp_path / "catalog", np.ones((1, 40, 60), np.uint16), id="scene", origin=(WEST, NORTH))


def pixels(row: float, column: float, height: float, width: float) -> Polygon:
    """The ground of a rectangle of pixels."""
    return box(WEST + column * 10, NORTH - (row + height) * 10, WEST + (column + width) * 10, NORTH - row * 10)


def write(path: Path, shapes: list, classes: list, crs: str = UTM_21S, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    gpd.GeoDataFrame({"class": classes}, geometry=shapes, crs=UTM_21S).to_crs(crs).to_file(path, **how)
    return path


def test_one_layer_has_the_labels_and_layers_without_shapes_do_not_count(tmp_path: Path, scene: Scene) -> None:
    file = write(tmp_path / "a.gpkg", [pixels(5, 7, 10, 20)], ["forest"], layer="drawn")
    pyogrio.write_dataframe(pd.DataFrame({"style": ["red"]}), file, layer="layer_styles")
    assert (burn(scene, file, labels()) == 1).sum() == 200
    write(file, [pixels(20, 7, 10, 20)], ["water"], layer="more", mode="a")
    with pytest.raises(BadData, match="has the layers drawn, more; export that of the labels"):
        burn(scene, file, labels())
    pyogrio.write_dataframe(pd.DataFrame({"class": ["water"]}), tmp_path / "b.gpkg", layer="table")
    with pytest.raises(BadData, match="no layer of it has shapes"):
        burn(scene, tmp_path / "b.gpkg", labels())


def test_classes_may_be_a_column_of_categories(tmp_path: Path, scene: Scene) -> None:
    frame = gpd.GeoDataFrame({"class": pd.Categorical(["forest"])}, geometry=[pixels(5, 7, 10, 20)], crs=UTM_21S)
    frame.to_parquet(tmp_path / "a.parquet")
    assert (burn(scene, tmp_path / "a.parquet", labels()) == 1).sum() == 200


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb"])
def test_a_shape_gives_its_class_to_exactly_its_pixels(tmp_path: Path, scene: Scene, name: str) -> None:
    file = write(tmp_path / "drawn" / name, [pixels(5, 7, 10, 20), pixels(30, 0, 3, 3)], ["forest", "bare"])
    expected = np.full((40, 60), 255, np.uint8)
    expected[5:15, 7:27], expected[30:33, 0:3] = 1, 2
    assert np.array_equal(burn(scene, file, labels()), expected)
    assert np.array_equal(burn(scene, file.parent, labels()), expected)  # the folder that holds it does as well


def test_a_pixel_belongs_to_the_shape_that_its_centre_lies_in(tmp_path: Path, scene: Scene) -> None:
    file = write(tmp_path / "a.gpkg", [pixels(0.4, 0.6, 2.2, 2.2)], ["water"])
    burned = burn(scene, file, labels())
    assert np.argwhere(burned == 0).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2], [2, 1], [2, 2]]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32720"])
def test_shapes_in_another_crs_land_on_the_same_pixels(tmp_path: Path, scene: Scene, crs: str) -> None:
    shape = shapely.segmentize(pixels(5.2, 7.2, 9.6, 19.6), 20)
    file = write(tmp_path / "a.gpkg", [shape], ["forest"], crs)
    expected = np.full((40, 60), 255, np.uint8)
    expected[5:15, 7:27] = 1
    assert np.array_equal(burn(scene, file, labels()), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 39), st.integers(0, 59), st.integers(1, 40), st.integers(1, 60))
def test_a_window_is_cut_from_the_whole(row: int, column: int, height: int, width: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        scene = write_scene(Path(folder), np.ones((1, 40, 60), np.uint16), origin=(WEST, NORTH))
        triangle = Polygon([(WEST + 13, NORTH - 17), (WEST + 555, NORTH - 101), (WEST + 240, NORTH - 391)])
        file = write(Path(folder) / "a.gpkg", [triangle, pixels(3, 3, 9, 5)], ["water", "bare"])
        source = open_labels(file, labels())
        whole = source.burn(scene)
        window = Window(column, row, min(width, 60 - column), min(height, 40 - row))
        part = source.burn(scene, window)
        assert np.array_equal(part, whole[row : row + height, column : column + width])


def test_ground_without_shapes_is_background_or_unlabelled(tmp_path: Path, scene: Scene) -> None:
    file = write(tmp_path / "a.gpkg", [pixels(0, 0, 2, 2)], ["bare"])
    assert set(np.unique(burn(scene, file, labels()))) == {2, 255}
    assert set(np.unique(burn(scene, file, labels(background="water")))) == {0, 2}


@pytest.mark.parametrize("spelled", [["20", "10"], [20, 10], [20.0, 10.0], ["Forest ", "WATER"]])
def test_classes_go_by_name_or_value(tmp_path: Path, scene: Scene, spelled: list) -> None:
    file = write(tmp_path / "a.gpkg", [pixels(0, 0, 2, 2), pixels(9, 9, 2, 2)], spelled)
    burned = burn(scene, file, labels())
    assert burned[0, 0] == 1 and burned[9, 9] == 0


def test_without_a_field_every_shape_is_the_second_class(tmp_path: Path, scene: Scene) -> None:
    file = write(tmp_path / "a.gpkg", [pixels(0, 0, 2, 2)], ["whatever"])
    assert burn(scene, file, labels(field=None))[0, 0] == 1


def test_broken_geometries_are_repaired_and_told(tmp_path: Path, scene: Scene) -> None:
    bow = Polygon([(WEST, NORTH), (WEST + 200, NORTH - 200), (WEST + 200, NORTH), (WEST, NORTH - 200)])
    file = write(tmp_path / "a.gpkg", [bow, None, pixels(30, 30, 2, 2), pixels(35, 35, 2, 2)], ["water"] * 3 + ["lava"])
    source = open_labels(file, labels())
    burned = source.burn(scene)
    assert burned[10, 1] == 0 and burned[10, 18] == 0 and burned[1, 10] == 255 and burned[36, 36] == 255
    told = " ".join(source.findings)
    assert "1 invalid geometry" in told and "1 shape(s) without geometry" in told and "lava" in told


def test_the_spike_of_a_shape_is_neither_pixels_nor_part_of_its_box(tmp_path: Path, scene: Scene) -> None:
    corners = [(10, 10), (20, 10), (20, 15), (50, 15), (20, 15), (20, 20), (10, 20)]  # column, row
    spiked = Polygon([(WEST + column * 10, NORTH - row * 10) for column, row in corners])
    file = write(tmp_path / "a.gpkg", [spiked], ["forest"])
    burned = burn(scene, file, labels())
    assert (burned[10:20, 10:20] == 1).all() and (burned == 1).sum() == 100
    found = boxes_of(open_labels(file, labels(background="water")), scene)
    assert found.corners.tolist() == [[10, 10, 20, 20]]


def test_the_blocks_of_a_dataset_that_lie_beside_labels_are_none(tmp_path: Path, scene: Scene) -> None:
    file = write(tmp_path / "labels" / "drawn.gpkg", [pixels(5, 5, 2, 2)], ["forest"])
    whole = gpd.GeoDataFrame({"block_id": ["b"], "split": ["test"]}, geometry=[pixels(0, 0, 40, 60)], crs=UTM_21S)
    whole.to_parquet(file.parent / "blocks.parquet")
    assert (burn(scene, file.parent, labels(field=None)) == 1).sum() == 4


@pytest.mark.parametrize("page", ["ISO 88591", "UTF-8", "nonsense"])
def test_a_shapefile_with_an_odd_code_page_is_read(tmp_path: Path, scene: Scene, page: str) -> None:
    file = write(
        tmp_path / "a.shp", [pixels(0, 0, 2, 2), pixels(5, 5, 2, 2)], ["forest", "forêt"], encoding="ISO-8859-1"
    )
    file.with_suffix(".cpg").write_text(page)
    source = open_labels(file, labels())
    assert source.burn(scene)[0, 0] == 1
    assert {f.suffix for f in source.files([scene])} >= {".shp", ".dbf", ".shx", ".prj", ".cpg"}


def test_a_shapefile_in_capitals_is_kept_whole(tmp_path: Path, scene: Scene) -> None:
    file = write(tmp_path / "lab.shp", [pixels(0, 0, 2, 2)], ["forest"])
    kept = tmp_path / "kept"
    kept.mkdir()
    for part in file.parent.glob("lab.*"):
        part.rename(tmp_path / part.name.upper())
    for part in open_labels(tmp_path / "LAB.SHP", labels()).files([scene]):
        shutil.copy(part, kept)
    assert (burn(scene, kept / "LAB.SHP", labels()) == 1).sum() == 4


def test_what_is_wrong_with_labels_is_said(tmp_path: Path, scene: Scene) -> None:
    file = write(tmp_path / "a.gpkg", [pixels(0, 0, 2, 2)], ["lava"])
    with pytest.raises(BadData, match="lava"):
        open_labels(file, labels())
    with pytest.raises(BadData, match="no attribute 'kind'"):
        open_labels(file, labels(field="kind"))
    with pytest.raises(BadData, match="neither a vector file"):
        open_labels(tmp_path / "nowhere", labels())
    (tmp_path / "b.gpkg").write_bytes(b"SQLite format 3\x00 and no more")
    with pytest.raises(BadData, match=r"b\.gpkg cannot be read"):
        open_labels(tmp_path / "b.gpkg", labels())
    naked = write(tmp_path / "naked" / "c.shp", [pixels(0, 0, 2, 2)], ["forest"])
    naked.with_suffix(".prj").unlink()
    with pytest.raises(BadData, match="coordinate reference system"):
        open_labels(naked, labels())


def test_match_and_place_decide_which_scenes_are_covered(tmp_path: Path, scene: Scene) -> None:
    far = write_scene(tmp_path / "catalog", np.ones((1, 40, 60), np.uint16), id="far", origin=(WEST + 9000, NORTH))
    file = write(tmp_path / "a.gpkg", [pixels(0, 0, 2, 2)], ["forest"])
    assert [open_labels(file, labels()).covers(s) for s in (scene, far)] == [True, False]
    assert [open_labels(file, labels(match="f*")).covers(s) for s in (scene, far)] == [False, False]
    told = labels(match="*", background="water")  # all ground of these scenes is said to be drawn
    assert [open_labels(file, told).covers(s) for s in (scene, far)] == [True, True]


def test_a_shape_that_says_nothing_of_its_class_has_none(tmp_path: Path, scene: Scene) -> None:
    classes = (CLASSES[0].model_copy(update={"name": "none"}), *CLASSES[1:])
    file = write(tmp_path / "a.gpkg", [pixels(0, 0, 4, 4), pixels(10, 10, 4, 4)], [None, "forest"])
    source = open_labels(file, labels(classes=classes))
    assert (source.burn(scene)[:4, :4] == 255).all() and (source.burn(scene)[10:14, 10:14] == 1).all()
    assert source.findings == ["a.gpkg: 1 shape(s) have nothing in 'class' and were left out."]


def test_edits_that_a_program_has_not_written_into_its_file_yet_are_not_overlooked(
    tmp_path: Path, scene: Scene
) -> None:
    file = write(tmp_path / "a.gpkg", [pixels(0, 0, 4, 4)], ["water"])
    with closing(sqlite3.connect(file)) as editor:
        editor.execute("PRAGMA journal_mode=WAL")
        editor.execute("PRAGMA wal_autocheckpoint=0")
        editor.execute("CREATE TABLE notes (words)")
        editor.commit()
        with pytest.raises(BadData, match=r"a\.gpkg-wal beside it; close the layer there"):
            burn(scene, file, labels())
    assert (burn(scene, file, labels())[:4, :4] == 0).all()  # whoever closes it last writes them


def test_a_shape_in_many_parts_loses_none_here_by_one_half_the_globe_away(tmp_path: Path, scene: Scene) -> None:
    here = gpd.GeoSeries([pixels(5, 7, 10, 20)], crs=UTM_21S).to_crs("EPSG:4326")[0]
    west = here.bounds[0]
    far = [box(west + turn, -1, west + turn + 0.1, 1) for turn in (88, 90, 95, -90)]
    frame = gpd.GeoDataFrame({"class": ["forest"]}, geometry=[MultiPolygon([*far, here])], crs="EPSG:4326")
    frame.to_parquet(tmp_path / "a.parquet")
    assert open_labels(tmp_path / "a.parquet", labels()).covers(scene)
    assert (burn(scene, tmp_path / "a.parquet", labels()) == 1).sum() == pytest.approx(200, abs=30)


@pytest.mark.parametrize("start", [179.98, -180.02, 359.0])
def test_a_grid_in_degrees_finds_its_labels_wherever_it_counts_from(tmp_path: Path, start: float) -> None:
    """Of 40 columns of 0.001 degrees; the water is the first ten, the forest the last ten, later shapes lie above."""
    scene = write_scene(
        tmp_path, np.ones((1, 20, 40), np.uint16), crs="EPSG:4326", origin=(start, 10), pixel=0.001, id="s"
    )

    def columns(first: float, last: float) -> list[Polygon]:
        """In degrees from -180 to 180, in two where they lie on both sides."""
        ends = start + first * 0.001, start + last * 0.001
        turned = [box(ends[0] + turn, 9.9, ends[1] + turn, 10.1) for turn in (-720, -360, 0, 360)]
        parts = [shapely.intersection(one, box(-180, -90, 180, 90)) for one in turned]
        return [part for part in parts if shapely.area(part) > 1e-9]

    parts = [("water", columns(0, 10)), ("bare", columns(15, 40)), ("forest", columns(30, 40))]
    shapes = [(name, shape) for name, several in parts for shape in several]
    frame = gpd.GeoDataFrame({"class": [n for n, _ in shapes]}, geometry=[s for _, s in shapes], crs="EPSG:4326")
    frame.to_parquet(tmp_path / "a.parquet")
    expected = np.repeat(np.uint8([0, 255, 2, 1]), [10, 5, 15, 10])
    assert (burn(scene, tmp_path / "a.parquet", labels()) == expected).all()
    assert open_labels(tmp_path / "a.parquet", labels()).covers(scene)


def test_a_tile_without_a_known_shape_stops_no_folder_of_tiles(tmp_path: Path, scene: Scene) -> None:
    write(tmp_path / "tiles" / "a.gpkg", [pixels(5, 7, 10, 20)], ["forest"])
    write(tmp_path / "tiles" / "b.gpkg", [pixels(20, 7, 10, 20)], ["road"])
    (tmp_path / "tiles" / "c.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    source = open_labels(tmp_path / "tiles", labels())
    assert (source.burn(scene) == 1).sum() == 200
    assert source.findings == ["b.gpkg: 1 shape(s) of ['road'] are none of labels.classes; left out."]
