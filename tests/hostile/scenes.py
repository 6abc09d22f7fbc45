"""Scenes of a STAC catalog whose files are broken, or lie about what they hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.shutil import copy
from rasterio.transform import from_origin

from tests.hostile.cases import Corpus
from tests.scenes.sources import CRS, ORIGIN, SIZE, item, reflectances, write_band, write_scene_files

SCENES = Corpus()
Item = dict[str, Any]


def good_item(folder: Path, id: str, **properties: Any) -> Item:
    return item(id, write_scene_files(folder, offset=-1000), **properties)


def with_band(folder: Path, id: str, **profile: Any) -> Item:
    """A good scene of which B03 is written anew with another profile."""
    files = write_scene_files(folder, offset=-1000)
    with rasterio.open(files["B03"]) as source:
        pixels = source.read(1)
    write_band(files["B03"], pixels.astype(profile.get("dtype", pixels.dtype)), **profile)
    return item(id, files)


def all_bands(folder: Path, id: str, *, crs: str = CRS, transform: Affine | None = None, pixel: float = 10) -> Item:
    """A good scene on another grid."""
    dn = np.round(reflectances() * 10_000 + 1000).astype(np.uint16)
    grid = {"crs": crs, "transform": transform or from_origin(*ORIGIN, pixel, pixel)}
    files = {band: write_band(folder / f"{band}.tif", dn[i], **grid) for i, band in enumerate(("B02", "B03", "B11"))}
    files["SCL"] = write_band(folder / "SCL.tif", np.full((SIZE, SIZE), 4, np.uint8), **grid)
    return item(id, files)


def with_bytes(folder: Path, id: str, content: bytes, ending: str = ".tif") -> Item:
    files = write_scene_files(folder, offset=-1000)
    files["B03"] = folder / f"odd{ending}"
    files["B03"].write_bytes(content)
    return item(id, files)


@SCENES.refused(r"B03\.tif cannot be read .* cut short")
def cut_short(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    (folder / "B03.tif").write_bytes((folder / "B03.tif").read_bytes()[:9000])
    return made


@SCENES.refused("cannot be read as a GeoTIFF")
def text_as_an_image(folder: Path, id: str) -> Item:
    return with_bytes(folder, id, b"<html>503 Service Unavailable</html>")


@SCENES.refused("cannot be read as a GeoTIFF")
def nothing_as_an_image(folder: Path, id: str) -> Item:
    return with_bytes(folder, id, b"")


@SCENES.refused("cannot be read as a GeoTIFF")
def zip_as_an_image(folder: Path, id: str) -> Item:
    return with_bytes(folder, id, b"PK\x03\x04" + bytes(200))


@SCENES.refused("cannot be read as a GeoTIFF or JPEG 2000")
def noise_as_jpeg_2000(folder: Path, id: str) -> Item:
    return with_bytes(folder, id, b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(range(256)), ".jp2")


@SCENES.refused("cannot be read as a GeoTIFF")
def directory_that_leads_to_itself(folder: Path, id: str) -> Item:
    return with_bytes(folder, id, b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0" + bytes(64))


@SCENES.refused("cannot be read as a GeoTIFF")
def tags_without_end(folder: Path, id: str) -> Item:
    return with_bytes(folder, id, b"II*\0\x08\0\0\0\xff\xff" + bytes(4096))


@SCENES.refused("cannot be read as a GeoTIFF")
def vrt_under_another_name(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    copy(folder / "B02.tif", folder / "names_another_file.vrt", driver="VRT")
    (folder / "B03.tif").write_bytes((folder / "names_another_file.vrt").read_bytes())
    return made


@SCENES.refused("cannot be read as a GeoTIFF")
def vrt_by_its_name(folder: Path, id: str) -> Item:
    files = write_scene_files(folder, offset=-1000)
    copy(files["B03"], folder / "B03.vrt", driver="VRT")
    return item(id, files | {"B03": folder / "B03.vrt"})


@SCENES.refused("no coordinate reference system")
def without_a_reference_system(folder: Path, id: str) -> Item:
    return with_band(folder, id, crs=None)


@SCENES.refused("not georeferenced")
def without_a_transform(folder: Path, id: str) -> Item:
    return with_band(folder, id, transform=Affine.identity())


@SCENES.refused("rotated")
def rotated(folder: Path, id: str) -> Item:
    return with_band(folder, id, transform=from_origin(*ORIGIN, 10, 10) @ Affine.rotation(20))


@SCENES.refused("north up")
def flipped(folder: Path, id: str) -> Item:
    return with_band(folder, id, transform=Affine(10, 0, ORIGIN[0], 0, 10, ORIGIN[1]))


@SCENES.refused("north up")
def mirrored(folder: Path, id: str) -> Item:
    return with_band(folder, id, transform=Affine(-10, 0, ORIGIN[0], 0, -10, ORIGIN[1]))


@SCENES.refused("no number|north up|georeferenced")
def nan_in_the_transform(folder: Path, id: str) -> Item:
    return with_band(folder, id, transform=Affine(10, 0, float("nan"), 0, -10, ORIGIN[1]))


@SCENES.refused("correct its CRS")
def metres_as_degrees(folder: Path, id: str) -> Item:
    return all_bands(folder, id, crs="EPSG:4326")


@SCENES.refused("correct")
def pixels_larger_than_earth(folder: Path, id: str) -> Item:
    return all_bands(folder, id, pixel=1e9)


@SCENES.refused("other bands of the scene in")
def band_in_another_reference_system(folder: Path, id: str) -> Item:
    return with_band(folder, id, crs="EPSG:32722")


@SCENES.refused("less than the")
def band_of_other_ground(folder: Path, id: str) -> Item:
    return with_band(folder, id, transform=from_origin(ORIGIN[0] + 5000, ORIGIN[1], 10, 10))


@SCENES.refused("pixels of type")
def floats_for_digital_numbers(folder: Path, id: str) -> Item:
    return with_band(folder, id, dtype="float32")


@SCENES.refused("pixels of type")
def complex_numbers(folder: Path, id: str) -> Item:
    return with_band(folder, id, dtype="complex64")


@SCENES.refused("has 2 bands")
def asset_of_two_bands(folder: Path, id: str) -> Item:
    files = write_scene_files(folder, offset=-1000)
    profile = {"driver": "GTiff", "count": 2, "dtype": "uint16", "width": SIZE, "height": SIZE, "crs": CRS}
    with rasterio.open(files["B03"], "w", **profile, transform=from_origin(*ORIGIN, 10, 10)) as out:
        out.write(np.full((2, SIZE, SIZE), 1500, np.uint16))
    return item(id, files)


@SCENES.refused("has no data in any")
def nothing_but_nodata(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    for band in ("B02", "B03"):
        write_band(folder / f"{band}.tif", np.zeros((SIZE, SIZE), np.uint16))
    return made


@SCENES.refused("max_nodata")
def nearly_nothing_but_nodata(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    pixels = np.zeros((SIZE, SIZE), np.uint16)
    pixels[20:24, 20:60] = 1500 + np.arange(40)
    write_band(folder / "B03.tif", pixels)
    return made


@SCENES.refused("dead band")
def dead_band(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    write_band(folder / "B03.tif", np.full((SIZE, SIZE), 1500, np.uint16))
    return made


@SCENES.refused("dead band")
def one_pixel(folder: Path, id: str) -> Item:
    one = {band: write_band(folder / f"{band}.tif", np.full((1, 1), 1500, np.uint16)) for band in ("B02", "B03", "B11")}
    return item(id, one | {"SCL": write_band(folder / "SCL.tif", np.full((1, 1), 4, np.uint8))})


@SCENES.refused("value_range")
def brighter_than_the_sun(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    write_band(folder / "B03.tif", np.random.default_rng(0).integers(40_000, 65_000, (SIZE, SIZE)).astype(np.uint16))
    return made


@SCENES.refused("mixed state")
def offset_said_to_be_out_and_still_in(folder: Path, id: str) -> Item:
    return good_item(folder, id, **{"earthsearch:boa_offset_applied": True})


@SCENES.refused("Nothing says whether")
def radiometry_untold(folder: Path, id: str) -> Item:
    return good_item(folder, id, **{"s2:processing_baseline": None})


@SCENES.refused("is no number such as")
def baseline_that_is_no_number(folder: Path, id: str) -> Item:
    return good_item(folder, id, **{"s2:processing_baseline": "latest"})


def _stated(folder: Path, id: str, **stated: dict[str, Any]) -> Item:
    made = good_item(folder, id)
    for band, quantity in stated.items():
        made["assets"][band]["raster:bands"] = [quantity]
    return made


@SCENES.refused("assets state DN offsets")
def offsets_that_differ_between_assets(folder: Path, id: str) -> Item:
    return _stated(folder, id, B02={"scale": 1e-4, "offset": -0.1}, B03={"scale": 1e-4, "offset": 0})


@SCENES.refused("scale.*must be a number")
def scale_in_words(folder: Path, id: str) -> Item:
    return _stated(folder, id, B02={"scale": "one ten-thousandth"})


@SCENES.refused("must be a number")
def scale_without_bounds(folder: Path, id: str) -> Item:
    return _stated(folder, id, B02={"scale": "inf", "offset": "nan"})


@SCENES.refused("is not a file")
def pipe_in_place_of_a_file(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    (folder / "B03.tif").unlink()
    os.mkfifo(folder / "B03.tif")  # opening it would wait for ever
    return made


@SCENES.taken
def over_the_antimeridian(folder: Path, id: str) -> Item:
    return all_bands(folder, id, crs="EPSG:32701", transform=from_origin(166_000, 8_000_000, 60, 60))


@SCENES.taken
def over_the_north_pole(folder: Path, id: str) -> Item:
    return all_bands(folder, id, crs="EPSG:3413", transform=from_origin(-1280, 1280, 10, 10))


@SCENES.taken
def at_the_south_pole_in_degrees(folder: Path, id: str) -> Item:
    return all_bands(folder, id, crs="EPSG:4326", transform=from_origin(20, -89.9, 0.1 / SIZE, 0.1 / SIZE))
