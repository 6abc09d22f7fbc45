"""Labels that are broken or hostile. ``{scene}`` is square, 64 pixels of 10 m, in UTM zone 21S."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from rasterio.shutil import copy
from shapely.geometry import Polygon, box

from tests.builders import UTM_21S
from tests.hostile.cases import Corpus

LABELS = Corpus()
LEFT, TOP, SIDE = 500_000.0, 9_000_000.0, 640.0
WHOLE = box(LEFT, TOP - SIDE, LEFT + SIDE, TOP)


def shapes(file: Path, geometries: list[Any], classes: list[Any] | None = None, crs: str | None = UTM_21S) -> Path:
    frame = gpd.GeoDataFrame({"class": classes or ["water"] * len(geometries)}, geometry=geometries, crs=crs)
    frame.to_parquet(file) if file.suffix == ".parquet" else frame.to_file(file)
    return file


def text(file: Path, content: str) -> Path:
    file.write_text(content)
    return file


def raster(file: Path, values: np.ndarray, **profile: Any) -> Path:
    file.parent.mkdir(exist_ok=True)
    full = {"driver": "GTiff", "dtype": values.dtype, "count": values.shape[0], "crs": UTM_21S}
    full |= {"height": values.shape[1], "width": values.shape[2], "transform": Affine(10, 0, LEFT, 0, -10, TOP)}
    with rasterio.open(file, "w", **full | profile) as out:
        out.write(values)
    return file


WATER = np.ones((1, 64, 64), np.uint8)


@LABELS.refused("cannot be read as .gpkg")
def text_as_a_geopackage(folder: Path) -> Path:
    return text(folder / "labels.gpkg", "<html>503 Service Unavailable</html>")


@LABELS.refused("cannot be read as .gpkg")
def geopackage_cut_short(folder: Path) -> Path:
    file = shapes(folder / "labels.gpkg", [WHOLE])
    file.write_bytes(file.read_bytes()[:5000])
    return file


@LABELS.refused("cannot be read as .gpkg|no coordinate reference system|no attribute")
def database_without_maps(folder: Path) -> Path:
    with sqlite3.connect(folder / "labels.gpkg") as base:
        base.execute("create table users (name text)")
    return folder / "labels.gpkg"


@LABELS.refused("cannot be read as .gpkg")
def ogr_vrt_under_another_name(folder: Path) -> Path:
    shapes(folder / "private.geojson", [WHOLE])
    layer = f"<OGRVRTLayer name='private'><SrcDataSource>{folder}/private.geojson</SrcDataSource></OGRVRTLayer>"
    return text(folder / "labels.gpkg", f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>")


@LABELS.refused("cannot be read as .geojson")
def geojson_of_another_server(folder: Path) -> Path:
    return text(folder / "labels.geojson", '"http://127.0.0.1:9/labels.geojson"')


@LABELS.refused("cannot be read as .geojson")
def geojson_as_deep_as_the_sea(folder: Path) -> Path:
    return text(folder / "labels.geojson", '{"type": "FeatureCollection", "features": ' + "[" * 100_000)


@LABELS.refused("cannot be read as .parquet")
def parquet_without_shapes(folder: Path) -> Path:
    import pandas as pd

    pd.DataFrame({"class": ["water"]}).to_parquet(folder / "labels.parquet")
    return folder / "labels.parquet"


@LABELS.refused("states no coordinate reference system")
def shapes_without_a_reference_system(folder: Path) -> Path:
    return shapes(folder / "labels.parquet", [WHOLE], crs=None)


@LABELS.refused("No usable shape is left|No shape of")
def no_shapes(folder: Path) -> Path:
    return shapes(folder / "labels.parquet", [])


@LABELS.refused("has no attribute 'class'")
def shapes_without_the_attribute(folder: Path) -> Path:
    file = folder / "labels.parquet"
    gpd.GeoDataFrame({"kind": ["water"]}, geometry=[WHOLE], crs=UTM_21S).to_parquet(file)
    return file


@LABELS.refused("has a class that labels.classes knows")
def classes_unheard_of(folder: Path) -> Path:
    return shapes(folder / "labels.parquet", [WHOLE], ["lava"])


@LABELS.refused("None of the 1 scenes")
def shapes_elsewhere(folder: Path) -> Path:
    return shapes(folder / "labels.parquet", [box(100_000, 8_000_000, 100_100, 8_000_100)])


@LABELS.refused("No usable shape is left")
def shapes_of_no_numbers(folder: Path) -> Path:
    nan = float("nan")
    return shapes(folder / "labels.parquet", [Polygon([(LEFT, TOP), (nan, nan), (LEFT + 9, TOP - 9), (LEFT, TOP)])])


@LABELS.refused("No usable shape is left")
def shapes_without_bounds(folder: Path) -> Path:
    inf = float("inf")
    return shapes(folder / "labels.parquet", [Polygon([(0, 0), (inf, 0), (inf, inf), (0, 0)])])


@LABELS.refused("No usable shape is left")
def shapes_without_area(folder: Path) -> Path:
    return shapes(folder / "labels.parquet", [Polygon([(LEFT, TOP), (LEFT + 9, TOP), (LEFT, TOP)])])


@LABELS.taken
def shape_that_crosses_itself(folder: Path) -> Path:
    right, bottom = LEFT + SIDE, TOP - SIDE
    bow = Polygon([(LEFT, TOP), (right, bottom), (right, TOP), (LEFT, bottom), (LEFT, TOP)])
    return shapes(folder / "labels.parquet", [bow])


@LABELS.taken
def shapes_in_degrees(folder: Path) -> Path:
    file = folder / "labels.geojson"
    gpd.GeoDataFrame({"class": ["water"]}, geometry=[WHOLE], crs=UTM_21S).to_crs("EPSG:4326").to_file(file)
    return file


@LABELS.refused("None of the 1 scenes")
def shape_over_the_whole_earth(folder: Path) -> Path:
    return shapes(folder / "labels.parquet", [box(-180, -90, 180, 90)], crs="EPSG:4326")


def _refused_tables(name: str, content: str | bytes, expects: str) -> None:
    def write(folder: Path) -> Path:
        file = folder / "labels.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    write.__name__ = name
    LABELS.refused(expects)(write)


_refused_tables("table_of_nothing", "", "has the columns")
_refused_tables("table_without_its_columns", "image,kind\nscene,water\n", "has the columns")
_refused_tables("table_cut_short", "scene,class\nscene\n", "cut short")
_refused_tables("table_of_two_minds", "scene,class\nscene,water\nscene,bare\n", "gives scene scene two classes")
_refused_tables("table_in_utf_16", "scene,class\nscene,water\n".encode("utf-16"), "no CSV in UTF-8")
_refused_tables("table_of_one_endless_cell", "scene,class\nscene," + "x" * 200_000, "no CSV in UTF-8")
_refused_tables("table_with_an_open_quote", 'scene,class\n"scene,water\n' * 20_000, "no CSV in UTF-8|cut short|None of")
_refused_tables("table_of_formulas", "scene,class\n\"=cmd|'/C calc'!A0\",water\n", "None of the 1 scenes")
_refused_tables("table_of_paths", "scene,class\n../../scene/..,water\n/etc/passwd,water\n", "None of the 1 scenes")
_BOXES = "scene,xmin,ymin,xmax,ymax,class\nscene,"
_refused_tables("box_of_words", _BOXES + "left,top,right,bottom,water\n", "no box")
_refused_tables("box_of_no_numbers", _BOXES + "nan,nan,nan,nan,water\n", "no box")
_refused_tables("box_without_bounds", _BOXES + "-inf,-inf,inf,inf,water\n", "no box")
_refused_tables("box_cut_short", _BOXES + "1,2\n", "no box")


def _refused_annotations(name: str, content: str, expects: str = "no annotation of Pascal VOC") -> None:
    def write(folder: Path) -> Path:
        return text(folder / "scene.xml", content)

    write.__name__ = name
    LABELS.refused(expects)(write)


_ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
_refused_annotations(
    "annotation_that_explodes", f'<!DOCTYPE a [<!ENTITY e0 "ha">{_ENTITIES}]><annotation>&e9;</annotation>'
)
_refused_annotations(
    "annotation_that_reads_a_file",
    '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation><filename>&e;</filename></annotation>',
)
_refused_annotations(
    "annotation_that_asks_a_server", '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><annotation>&e;</annotation>'
)
_refused_annotations("annotation_in_no_language", '<?xml version="1.0" encoding="klingon"?><annotation/>')
_refused_annotations("annotation_that_is_open", "<annotation><object>")
_refused_annotations(
    "annotation_without_numbers",
    "<annotation><object><name>water</name><bndbox><xmin>nan</xmin></bndbox></object></annotation>",
)
_refused_annotations(
    "annotation_of_a_path",
    "<annotation><filename>../../etc/passwd</filename></annotation>",
    "None of the 1 scenes",
)


@LABELS.refused("neither a vector file")
def nothing_there(folder: Path) -> Path:
    return folder / "labels.gpkg"


@LABELS.refused("neither a vector file")
def rasters_that_name_other_files(folder: Path) -> Path:
    copy(raster(folder / "private.tif", WATER), folder / "scene.vrt", driver="VRT")
    (folder / "private.tif").rename(folder / "private")
    (folder / "labels").mkdir()
    (folder / "scene.vrt").rename(folder / "labels" / "scene.vrt")
    return folder / "labels"


@LABELS.refused("cannot be read")
def raster_that_is_a_vrt(folder: Path) -> Path:
    copy(raster(folder / "private.tif", WATER), folder / "scene.vrt", driver="VRT")
    (folder / "labels").mkdir()
    (folder / "scene.vrt").rename(folder / "labels" / "scene.tif")
    return folder / "labels"


@LABELS.refused("cannot be read")
def raster_cut_short(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(1, 4, (1, 64, 64), np.uint8)
    file = raster(folder / "labels" / "scene.tif", noise)
    file.write_bytes(file.read_bytes()[:2000])
    return folder / "labels"


@LABELS.refused("has 3 bands")
def raster_of_colours(folder: Path) -> Path:
    raster(folder / "labels" / "scene.tif", np.ones((3, 64, 64), np.uint8))
    return folder / "labels"


@LABELS.refused("65 x 64 pixels")
def raster_of_another_size(folder: Path) -> Path:
    raster(folder / "labels" / "scene.tif", np.ones((1, 64, 65), np.uint8))
    return folder / "labels"


@LABELS.refused("is in EPSG:32722")
def raster_in_another_reference_system(folder: Path) -> Path:
    raster(folder / "labels" / "scene.tif", WATER, crs="EPSG:32722")
    return folder / "labels"


@LABELS.refused("pixels off scene")
def raster_upside_down(folder: Path) -> Path:
    raster(folder / "labels" / "scene.tif", WATER, transform=Affine(10, 0, LEFT, 0, 10, TOP - SIDE))
    return folder / "labels"


@LABELS.refused("None of the 1 scenes")
def raster_of_values_that_are_no_class(folder: Path) -> Path:
    raster(folder / "labels" / "scene.tif", np.full((1, 64, 64), np.nan, np.float32))
    return folder / "labels"


@LABELS.refused("named like the same scene")
def rasters_of_one_name(folder: Path) -> Path:
    raster(folder / "labels" / "scene.tif", WATER)
    raster(folder / "labels" / "scene.tiff", WATER)
    return folder / "labels"


@LABELS.refused("keep one kind")
def rasters_and_shapes(folder: Path) -> Path:
    raster(folder / "labels" / "scene.tif", WATER)
    (folder / "labels" / "more.json").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    return folder / "labels"
