"""Items of a STAC catalog that are not what STAC says, in ids, times, shapes and links to local files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.hostile.cases import Corpus
from tests.hostile.scenes import Item, good_item
from tests.scenes.sources import item, write_scene_files

ITEMS = Corpus()
GOOD = "good"


def _with(folder: Path, id: str, **fields: Any) -> Item:
    return good_item(folder, id) | fields


def _linked(folder: Path, id: str, href: str) -> Item:
    files: dict[str, Any] = dict(write_scene_files(folder, offset=-1000))
    return item(id, files | {"B03": href})


def _refused_ids(name: str, id: Any) -> None:
    def write(folder: Path, _: str) -> Item:
        return good_item(folder, "replaced") | {"id": id}

    write.__name__ = name
    ITEMS.refused("cannot name a folder|is not valid STAC|is also that of")(write)


_refused_ids("id_that_climbs", "../../escape")
_refused_ids("id_from_the_root", "/tmp/escape")
_refused_ids("id_with_a_backslash", "..\\escape")
_refused_ids("id_with_nul", "good\0.tif")
_refused_ids("id_of_five_thousand_letters", "x" * 5000)
_refused_ids("id_of_nothing", "")
_refused_ids("id_that_is_a_number", 7)
_refused_ids("id_that_is_a_list", ["good"])
_refused_ids("id_with_cyrillic_letters", "g\u043e\u043ed")
_refused_ids("id_with_half_a_surrogate", "good\ud800")
_refused_ids("id_with_a_line_break", "good\n")
_refused_ids("id_that_turns_the_text_around", "good\u202egpj")
_refused_ids("id_of_a_template", "{{ 7 * 7 }}<script>alert(1)</script>")
_refused_ids("id_that_is_taken", GOOD)
_refused_ids("id_that_differs_by_case", GOOD.upper())


@ITEMS.refused("not valid STAC.*datetime")
def without_a_time(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    made["properties"]["datetime"] = None
    return made


@ITEMS.refused("not valid STAC")
def time_in_words(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    made["properties"]["datetime"] = "yesterday"
    return made


@ITEMS.refused("not valid STAC")
def start_in_words(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    made["properties"] |= {"datetime": None, "start_datetime": "yesterday", "end_datetime": "today"}
    return made


@ITEMS.refused("not valid STAC")
def year_of_five_digits(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    made["properties"]["datetime"] = "99999-01-01T00:00:00Z"
    return made


@ITEMS.refused("not valid STAC")
def properties_that_are_nothing(folder: Path, id: str) -> Item:
    return _with(folder, id, properties=None)


@ITEMS.refused("not valid STAC")
def assets_in_a_list(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    return made | {"assets": list(made["assets"].values())}


@ITEMS.refused("not valid STAC")
def bands_that_are_no_list(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    made["assets"]["B02"]["raster:bands"] = 7
    return made


@ITEMS.refused("has no asset 'B03'")
def asset_missing(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    del made["assets"]["B03"]
    return made


@ITEMS.refused("not valid STAC|is not a file")
def link_that_is_a_number(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    made["assets"]["B03"]["href"] = 7
    return made


def _refused_links(name: str, href: str, expects: str = "is not a file") -> None:
    def write(folder: Path, id: str) -> Item:
        return _linked(folder, id, href.replace("{folder}", str(folder)))

    write.__name__ = name
    ITEMS.refused(expects)(write)


_refused_links("link_to_a_password_file", "file:///etc/passwd", "outside of the catalog's own folder")
_refused_links("link_from_the_root", "/etc/passwd", "outside of the catalog's own folder")
_refused_links(
    "link_that_climbs", "{folder}/../../../../../../../../../etc/passwd", "outside of the catalog's own folder"
)
_refused_links("link_to_endless_zeros", "/dev/zero")
_refused_links("link_to_a_folder", "{folder}")
_refused_links("link_by_ftp", "ftp://example.org/B03.tif")
_refused_links("link_that_is_the_data", "data:image/tiff;base64,SUkqAA==")
_refused_links("link_into_a_part_of_a_file", "/vsisubfile/0_100,{folder}/B02.tif")
_refused_links("link_by_gdals_curl", "/vsicurl/http://127.0.0.1:9/B03.tif")
_refused_links("link_into_an_archive", "/vsizip/{folder}/a.zip/B03.tif")
_refused_links("link_to_standard_input", "/vsistdin/")
_refused_links("link_by_a_driver", "GTIFF_DIR:1:{folder}/B02.tif")
_refused_links("link_to_a_database", "PG:host=127.0.0.1 dbname=airflow")
_refused_links("link_as_xml", "<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>")
_refused_links("link_with_nul", "{folder}/B03.tif\0.png")
_refused_links("link_of_a_hundred_thousand_letters", "{folder}/" + "x" * 100_000)
_refused_links("link_with_half_a_bracket", "http://[::1/B03.tif", "not valid STAC")


@ITEMS.refused("outside of the catalog's own folder")
def link_by_a_symlink(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    (folder / "B03.tif").unlink()
    (folder / "B03.tif").symlink_to("/etc/passwd")
    return made


@ITEMS.taken
def outline_that_crosses_itself(folder: Path, id: str) -> Item:
    bow = [[-56.0, -9.0], [-55.9, -9.1], [-55.9, -9.0], [-56.0, -9.1], [-56.0, -9.0]]
    return _with(folder, id, geometry={"type": "Polygon", "coordinates": [bow]})


@ITEMS.refused("not valid STAC")
def outline_of_no_numbers(folder: Path, id: str) -> Item:
    nan = float("nan")
    return _with(folder, id, geometry={"type": "Polygon", "coordinates": [[[nan, nan]] * 4]})


@ITEMS.taken
def outline_in_words(folder: Path, id: str) -> Item:
    return _with(folder, id, geometry={"type": "Polygon", "coordinates": "all of it"})


@ITEMS.taken
def cloud_cover_in_words(folder: Path, id: str) -> Item:
    made = good_item(folder, id)
    made["properties"]["eo:cloud_cover"] = "some"
    return made
