"""Searching a STAC API, a static catalog and a folder, and what a second search finds."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from shapely.geometry import box, mapping
from urllib3.util import Retry

from pipelines.config import load_params, merged_params
from pipelines.errors import BadData, SwathError
from pipelines.scenes.candidate import safe_id
from pipelines.scenes.dates import UNDATED, Dates
from pipelines.scenes.fetch import fetch
from pipelines.scenes.search import search
from tests.scenes.servers import file_server, stac_api
from tests.scenes.sources import item, params, write_band, write_catalog, write_scene_files

ANY = Dates(None, None)


def ids(found: tuple) -> list[str]:
    return [candidate.id for candidate in found[0]]


def items(base: str) -> list[dict]:
    hrefs = {band: f"{base}/files/{band}.tif" for band in ("B02", "B03", "B11", "SCL")}
    return [
        item("july", hrefs, when="2024-07-01T14:00:00Z"),
        item("august", hrefs, when="2024-08-01T14:00:00Z"),
        item("cloudy", hrefs, when="2024-07-05T14:00:00Z", **{"eo:cloud_cover": 95.0}),
    ]


@pytest.mark.parametrize("kind", ["api", "static", "local"])
def test_area_dates_and_cloud_narrow_the_search(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene_files(tmp_path / "files", offset=-1000)
    with file_server(tmp_path) as (base, _):
        monkeypatch.setenv("SWATH_LINKS", base.removeprefix("http://"))  # pixels lie elsewhere than the API
        catalog = write_catalog(tmp_path, items(str(tmp_path) if kind == "local" else base))
        collection = tmp_path / "items.json"
        collection.write_text(json.dumps({"type": "FeatureCollection", "features": items(base)}))
        with stac_api(collection) as api:
            source = {"api": api, "static": f"{base}/catalog.json", "local": str(catalog)}[kind]
            scenes = params(source)
            world = (-180.0, -90.0, 180.0, 90.0) if kind == "api" else None
            assert ids(search(scenes, world, ANY)) == ["august", "july"]
            assert ids(search(scenes, None, Dates.of((date(2024, 7, 1), date(2024, 7, 1))))) == ["july"]
            assert ids(search(scenes, None, Dates.of(None, since="2024-07-15"))) == ["august"]
            assert ids(search(scenes, (0.0, 0.0, 1.0, 1.0), ANY)) == []
            west, south, _, _ = items(base)[0]["bbox"]
            assert ids(search(scenes, (west, south, west + 0.001, south + 0.001), ANY)) == ["august", "july"]
            assert ids(search(params(source, collections=["s2"]), world, ANY)) == ["august", "july"]
            assert ids(search(params(source, collections=["other"]), world, ANY)) == []
            assert search(scenes, world, ANY) == search(scenes, world, ANY)
            scene = fetch(search(scenes, world, ANY)[0][0], scenes, None, tmp_path / "staging")
            assert scene.baseline == "05.09" and scene.bands[0].offset == pytest.approx(-0.1)


def test_a_small_area_costs_a_fraction_of_the_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(200, 4000, (2048, 2048), dtype=np.uint16)
    path = write_band(tmp_path / "files" / "B02.tif", noise, blockxsize=256, blockysize=256)
    with file_server(tmp_path) as (base, server):
        document = item("big", {"B02": f"{base}/files/B02.tif"}, **{"s2:processing_baseline": "02.09"})
        write_catalog(tmp_path, [document])
        scenes = params(f"{base}/catalog.json", assets=["B02"], bands=["B02"], cloud_mask={"asset": None})
        west, _, _, north = document["bbox"]
        area = (west + 0.002, north - 0.004, west + 0.004, north - 0.002)
        (candidate,), _ = search(scenes, area, ANY)
        server.sent = 0
        scene = fetch(candidate, scenes, area, tmp_path / "staging")
        assert 20 <= scene.width <= 24 and 20 <= scene.height <= 24
        assert 0 < server.sent < path.stat().st_size / 10


def test_a_missing_file_on_a_server_is_bad_data(tmp_path: Path) -> None:
    with file_server(tmp_path) as (base, _):
        write_catalog(tmp_path, [item("gone", {"B02": f"{base}/B02.tif"})])
        scenes = params(f"{base}/catalog.json", assets=["B02"], bands=["B02"], cloud_mask={"asset": None})
        (candidate,), _ = search(scenes, None, ANY)
        with pytest.raises(BadData):
            fetch(candidate, scenes, None, tmp_path / "staging")


@pytest.mark.parametrize("tries", [0, Retry(total=1, backoff_factor=0)])
def test_a_silent_catalog_is_worth_a_retry_and_a_page_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int | Retry
) -> None:
    monkeypatch.setattr("pipelines.scenes.stac._RETRY", tries)
    with pytest.raises(SwathError, match="did not answer") as caught:
        search(params("http://127.0.0.1:9/"), None, ANY)
    assert not isinstance(caught.value, BadData)
    (tmp_path / "index.html").write_text("<html>no catalog</html>")
    with file_server(tmp_path) as (base, _), pytest.raises(BadData, match="no STAC catalog"):
        search(params(f"{base}/index.html"), None, ANY)


def test_the_example_of_earth_search_reads_items_as_it_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earth Search takes the offset out of its copies, says so by a flag, and states it in the assets all the same."""
    overlay = Path(__file__).parents[2] / "examples" / "earth-search.yaml"
    (tmp_path / "params.yaml").write_text(merged_params(overlay.parents[1] / "params.yaml", overlay))
    monkeypatch.setenv("SWATH_DATA", str(tmp_path))
    scenes = load_params(tmp_path / "params.yaml").scenes
    files = write_scene_files(tmp_path / "files", offset=0)
    given = {"blue": "B02", "green": "B03", "red": "B03", "nir": "B03", "swir16": "B11", "swir22": "B11", "scl": "SCL"}
    with file_server(tmp_path) as (base, _):
        monkeypatch.setenv("SWATH_LINKS", base.removeprefix("http://"))
        hrefs = {asset: f"{base}/files/{files[band].name}" for asset, band in given.items()}
        document = item("S2B_20LMP_20240601_0_L2A", hrefs, **{"earthsearch:boa_offset_applied": True})
        for asset, told in document["assets"].items():
            told["raster:bands"] = [{"nodata": 0} | ({} if asset == "scl" else {"scale": 0.0001, "offset": -0.1})]
        document["collection"] = "sentinel-2-l2a"
        (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [document]}))
        with stac_api(tmp_path / "items.json") as api:
            here = scenes.model_copy(update={"source": api})
            (candidate,), refused = search(here, tuple(document["bbox"]), Dates.of(scenes.dates, since="2024-07-01"))
            scene = fetch(candidate, here, None, tmp_path / "staging")
    assert not refused and [band.name for band in scene.bands] == list(scenes.bands)
    assert {band.offset for band in scene.bands} == {0.0}


def test_an_api_says_why_it_refuses_and_is_not_asked_for_everything(tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items("http://a.b")}))
    with stac_api(tmp_path / "items.json") as api:
        with pytest.raises(BadData, match=r"refuses what it is asked \(status 4\d\d: .+\); correct"):
            search(params(api), (10.0, 30.0, 15.0, 20.0), ANY)
        with pytest.raises(BadData, match=r"status 404.*Sources that need a token"):
            search(params(f"{api}/nowhere"), None, ANY)
        with pytest.raises(BadData, match="all that it has; set collections, dates or area"):
            search(params(api), None, ANY)


def test_an_api_is_asked_on_both_sides_of_the_antimeridian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_LINKS", "a.b:80")
    documents = items("http://a.b")[:2]
    west, south, east, north = documents[0]["bbox"]
    documents[1] |= {"bbox": [-180, south, 180, north], "geometry": mapping(box(-180, south, 180, north))}
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": documents}))
    with stac_api(tmp_path / "items.json") as api:
        over = (170.0, south, (west + east) / 2, north)
        for area, there in ((over, ["august", "july"]), ((170.0, south, -170.0, north), ["august"])):
            found, refused = search(params(api), area, ANY)
            assert ([candidate.id for candidate in found], refused) == (there, [])


HOSTILE = ["../../etc", "a/b", "..", ".hidden", "a\\b", "", "x" * 200, "a\nb", "con:1", "a..b"]


@pytest.mark.parametrize("id", HOSTILE)
def test_hostile_ids_name_no_folder(id: str) -> None:
    with pytest.raises(BadData, match="cannot name a folder"):
        safe_id(id)


def test_hostile_items_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "files", offset=-1000)
    documents = [item("../../escape", files), item("good", files), item("good", files)]
    documents += [{"type": "Feature", "id": "broken"}, item("bare", {"B02": files["B02"]})]
    found, refused = search(params(write_catalog(tmp_path, documents)), None, ANY)
    assert [c.id for c in found] == ["good"]
    assert len(refused) == 4 and all(entry.reason.endswith(".") for entry in refused)


def test_a_remote_catalog_cannot_name_local_files(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "files", offset=-1000)
    write_catalog(tmp_path, [item("local", {band: f"file://{path}" for band, path in files.items()})])
    with file_server(tmp_path) as (base, _):
        found, refused = search(params(f"{base}/catalog.json"), None, ANY)
    assert not found and "no http(s) or s3 address" in refused[0].reason


def test_a_folder_gives_dates_from_tag_or_name(tmp_path: Path) -> None:
    pixels = np.full((32, 32), 5, np.uint8)
    write_band(tmp_path / "in" / "fire_20240608.tif", pixels)
    write_band(tmp_path / "in" / "deep" / "nameless.TIF", pixels)
    for name in ("tile_2048_1024", "tile_2023_0512", "tile_20480512"):  # where a tile begins
        write_band(tmp_path / "in" / f"{name}.tif", pixels)
    for name in ("tagged_20220101", "tagged_20230505", "tagged"):
        with rasterio.open(write_band(tmp_path / "in" / f"{name}.tif", pixels), "r+") as out:
            out.update_tags(TIFFTAG_DATETIME="2023:05:06 07:08:09")
    (tmp_path / "in" / "broken.tif").write_bytes(b"II*\0no")
    scenes = params(tmp_path / "in", assets=[], cloud_mask={"asset": None})
    found, refused = search(scenes, None, ANY)
    when = {c.id: (c.datetime, c.dated) for c in found}
    assert when["fire_20240608"][0].date() == date(2024, 6, 8)
    assert when["tagged_20220101"][0] == datetime(2022, 1, 1, tzinfo=UTC)  # the tag is of an export long after
    assert when["tagged_20230505"][0] == when["tagged"][0] == datetime(2023, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert {when[name] for name in ("nameless", "tile_2048_1024", "tile_2023_0512", "tile_20480512")} == {
        (UNDATED, False)
    }
    assert [entry.id for entry in refused] == ["broken"]
    assert ids(search(scenes, None, Dates.of(None, since="2024-01-01"))) == [
        "fire_20240608",
        "nameless",
        "tile_2023_0512",
        "tile_20480512",
        "tile_2048_1024",
    ]


def test_the_fingerprint_follows_content_and_parameters(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "files", offset=-1000)
    source = write_catalog(tmp_path, [item("scene", files)])

    def fingerprint(**changes: object) -> str:
        return search(params(source, **changes), None, ANY)[0][0].fingerprint

    first = fingerprint()
    assert fingerprint(shard=5, max_cloud=50) == first
    assert fingerprint(cloud_mask={"asset": "SCL", "cloud": [9]}) != first
    described = json.loads((source.parent / "item0.json").read_text())
    described["assets"]["B03"]["raster:bands"] = [{"scale": 0.0001, "offset": -0.1}]
    (source.parent / "item0.json").write_text(json.dumps(described))
    assert fingerprint() != first, "what an asset says of its pixels decides their meaning"
    write_catalog(tmp_path, [item("scene", files)])
    assert fingerprint() == first
    os.utime(files["B03"], (1, 1))
    touched = fingerprint()
    assert touched != first
    shutil.copy(source.parent / "item0.json", tmp_path / "copy.json")
    write_catalog(tmp_path, [item("scene", files, **{"s2:processing_baseline": "05.10"})])
    assert fingerprint() != touched


def test_a_composite_is_found_by_any_part_of_its_time(tmp_path: Path) -> None:
    write_scene_files(tmp_path / "files", offset=-1000)
    hrefs = {band: str(tmp_path / "files" / f"{band}.tif") for band in ("B02", "B03", "B11", "SCL")}
    year = item("year", hrefs, start_datetime="2021-01-01T00:00:00Z", end_datetime="2021-12-31T23:59:59Z")
    year["properties"]["datetime"] = None
    scenes = params(write_catalog(tmp_path, [year]))

    def between(first: date, last: date) -> list[str]:
        return ids(search(scenes, None, Dates.of((first, last))))

    assert between(date(2021, 6, 1), date(2021, 8, 31)) == ["year"]
    assert between(date(2021, 12, 31), date(2022, 8, 31)) == ["year"]
    assert between(date(2022, 1, 1), date(2022, 8, 31)) == between(date(2020, 1, 1), date(2020, 12, 31)) == []
