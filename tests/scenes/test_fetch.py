"""Fetched pixels are the source's own, on one grid, with their mask; bad files are refused with a sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from rio_cogeo import cog_validate

from pipelines.config.params import Scenes
from pipelines.errors import BadData, SwathError
from pipelines.files import sha256
from pipelines.scenes.candidate import Candidate
from pipelines.scenes.fetch import fetch
from pipelines.scenes.remote import _OPTIONS
from pipelines.scenes.scene import MaskBit, Scene
from tests.faults.source import Source
from tests.scenes.servers import file_server
from tests.scenes.sources import CRS, ORIGIN, params, write_band, write_scene_files


def candidate(files: dict[str, Path], **changes: Any) -> Candidate:
    facts = {"id": "scene", "datetime": datetime(2024, 7, 1, tzinfo=UTC), "source": "test", "fingerprint": "f"}
    facts |= {"hrefs": tuple(str(files[b]) for b in ("B02", "B03", "B11")), "mask": str(files["SCL"])}
    return Candidate.model_validate(facts | {"baseline": "05.09"} | changes)


def one_file(path: Path, **changes: Any) -> tuple[Candidate, Scenes]:
    scenes = params("test", assets=[], bands=["a"], cloud_mask={"asset": None}, **changes)
    facts = {"id": "scene", "datetime": datetime(2024, 7, 1, tzinfo=UTC), "source": str(path), "hrefs": (str(path),)}
    return Candidate.model_validate(facts | {"baseline": "02.09"}), scenes


def pixels_of(scene: Scene, staging: Path) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(scene.image_path(staging)) as image, rasterio.open(scene.mask_path(staging)) as mask:
        return image.read(), mask.read(1)


def test_bands_of_two_resolutions_make_one_cog(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    scene = fetch(candidate(files), params("test"), None, tmp_path / "staging")
    pixels, mask = pixels_of(scene, tmp_path / "staging")
    with rasterio.open(files["B02"]) as b02, rasterio.open(files["B11"]) as b11:
        assert np.array_equal(pixels[0], b02.read(1))
        coarse = b11.read(1)
    means = pixels[2].reshape(128, 2, 128, 2).mean(axis=(1, 3))[20:-1, 1:-1]
    smooth = sum(  # bilinear from 20 m to 10 m, then averaged back: the separable weights 1/8, 3/4, 1/8
        wy * wx * np.roll(coarse.astype(float), (dy, dx), (0, 1))[20:-1, 1:-1]
        for dy, wy in ((-1, 0.125), (0, 0.75), (1, 0.125))
        for dx, wx in ((-1, 0.125), (0, 0.75), (1, 0.125))
    )
    assert np.abs(means - smooth).max() <= 1
    assert (mask[:16] == MaskBit.NODATA).all() and not mask[18:].any()
    edge = pixels[2][16:18][mask[16:18] == 0]  # beside pixels without data, which are no part of any mean
    assert edge.size and edge.min() >= coarse[8:10].min()
    assert scene.bands[0].offset == pytest.approx(-0.1)
    assert scene.resolution == pytest.approx(10, rel=0.002) and scene.crs == CRS
    valid, errors, _ = cog_validate(scene.image_path(tmp_path / "staging"))
    assert valid, errors


def test_bands_that_disagree_on_nodata_are_refused_unless_it_is_said(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    with rasterio.open(files["B02"], "r+") as fine, rasterio.open(files["B11"], "r+") as coarse:
        fine.nodata, coarse.nodata = 0, 65535
    with pytest.raises(BadData, match=r"different nodata values \(0.0, 65535.0\); set scenes.nodata"):
        fetch(candidate(files), params("test", nodata=None), None, tmp_path / "staging")
    assert fetch(candidate(files), params("test", nodata=0), None, tmp_path / "staging").nodata_share > 0


def test_the_mask_of_a_coarse_band_is_kept_where_it_is_resampled(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        for name in ("B02", "B03", "B11"):
            with rasterio.open(files[name], "r+") as band:
                band.write(np.maximum(band.read(1), 1100), 1)  # no pixel is without data by its value
                band.nodata = None
                if name == "B11":
                    covered = np.full(band.shape, 255, np.uint8)
                    covered[:, : band.width // 2] = 0
                    band.write_mask(covered)
    for nodata in (None, 0):
        scene = fetch(candidate(files), params("test", nodata=nodata), None, tmp_path / f"staging-{nodata}")
        _, mask = pixels_of(scene, tmp_path / f"staging-{nodata}")
        assert (mask[:, :120] & MaskBit.NODATA).all() and not (mask[20:, 136:] & MaskBit.NODATA).any()


def test_a_file_that_states_another_nodata_value_than_the_parameters_is_refused(tmp_path: Path) -> None:
    path = write_band(tmp_path / "a.tif", np.full((64, 64), 500, np.int16))
    with rasterio.open(path, "r+") as out:
        out.nodata = -9999
    source, scenes = one_file(path, nodata=0)
    with pytest.raises(BadData, match=r"states that -9999.0 is no data, and params.scenes.nodata says 0"):
        fetch(source, scenes, None, tmp_path / "staging")
    source, scenes = one_file(path, nodata=-9999)
    fetch(source, scenes, None, tmp_path / "staging")


@pytest.mark.parametrize("value", [-9999.9, -3.4e38, 0.1])
def test_a_nodata_value_is_compared_as_the_pixels_hold_it(tmp_path: Path, value: float) -> None:
    pixels = np.full((64, 64), 0.4, np.float32)
    pixels[:4] = value
    path = write_band(tmp_path / "a.tif", pixels)
    with rasterio.open(path, "r+") as out:
        out.nodata = value
    declared = {"kind": "declared", "units": "reflectance", "scale": 1.0, "offset": 0.0}
    source, scenes = one_file(path, nodata=value, radiometry=declared)
    assert fetch(source, scenes, None, tmp_path / "staging").nodata_share == pytest.approx(4 / 64)


def test_cloud_and_shadow_come_from_the_classes(tmp_path: Path) -> None:
    classes = np.full((128, 128), 4, np.uint8)
    classes[30:40, 10:20], classes[50:60, 10:30] = 9, 3
    files = write_scene_files(tmp_path / "source", offset=-1000, scl=classes)
    scene = fetch(candidate(files), params("test"), None, tmp_path / "staging")
    _, mask = pixels_of(scene, tmp_path / "staging")
    expected = np.repeat(np.repeat(np.select([classes == 9, classes == 3], [2, 4]), 2, 0), 2, 1)
    assert np.array_equal(mask[20:], expected[20:])
    assert scene.cloud_share == pytest.approx((100 + 200) * 4 / (256 * 240), rel=0.01)


def test_same_source_gives_same_bytes(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    first, second = (fetch(candidate(files), params("test"), None, tmp_path / run) for run in "ab")
    assert first == second
    assert sha256(first.image_path(tmp_path / "a")) == first.image_sha256 == sha256(second.image_path(tmp_path / "b"))


def test_area_cuts_whole_pixels(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    wanted = (ORIGIN[0] + 500, ORIGIN[1] - 1500, ORIGIN[0] + 1000, ORIGIN[1] - 700)
    area = transform_bounds(CRS, "EPSG:4326", *wanted)
    scene = fetch(candidate(files), params("test"), area, tmp_path / "staging")
    pixels, _ = pixels_of(scene, tmp_path / "staging")
    column, row = round((scene.transform[2] - ORIGIN[0]) / 10), round((ORIGIN[1] - scene.transform[5]) / 10)
    with rasterio.open(files["B03"]) as whole:
        assert np.array_equal(pixels[1], whole.read(1)[row : row + scene.height, column : column + scene.width])
    assert scene.corner == (column, row)
    assert 45 <= column <= 50 and 50 <= scene.width <= 60 and 80 <= scene.height <= 90


def test_area_outside_is_refused(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    with pytest.raises(BadData, match="no pixels in the area"):
        fetch(candidate(files), params("test"), (10, 10, 11, 11), tmp_path / "staging")


@pytest.mark.parametrize("band", ["B02", "B11", "SCL"])
def test_a_file_cut_short_is_refused_and_leaves_nothing(tmp_path: Path, band: str) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    whole = files[band].read_bytes()
    if band == "SCL":  # one class compresses to nothing; cut a file that has content
        noise = np.random.default_rng(0).integers(0, 12, (128, 128), dtype=np.uint8)
        whole = write_band(files[band], noise, pixel=20, blockxsize=16, blockysize=16).read_bytes()
    files[band].write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadData, match=f"{band}.tif cannot be read"):
        fetch(candidate(files), params("test"), None, tmp_path / "staging")
    assert not list((tmp_path / "staging" / "scenes").iterdir())


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ({"crs": None}, "no coordinate reference system"),
        ({"transform": from_origin(*ORIGIN, 10, 10) @ rasterio.Affine.rotation(20)}, "rotated"),
        ({"transform": rasterio.Affine(10, 0, ORIGIN[0], 0, 10, ORIGIN[1])}, "north up"),
        ({"dtype": "float32"}, "digital numbers are uint16"),
        ({"dtype": "complex64"}, "pixels of type"),
        ({"crs": "EPSG:4326"}, "correct its CRS"),  # metres under the code of degrees
    ],
)
def test_unusable_grids_and_types_are_refused(tmp_path: Path, profile: dict[str, Any], reason: str) -> None:
    pixels = np.full((64, 64), 500, np.uint16).astype(profile.get("dtype", "uint16"))
    path = write_band(tmp_path / "a.tif", pixels, **profile)
    with pytest.raises(BadData, match=reason):
        fetch(*one_file(path), None, tmp_path / "staging")


def test_a_nodata_value_that_the_pixels_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = write_band(tmp_path / "a.tif", np.full((64, 64), 500, np.uint16))
    with pytest.raises(BadData, match="cannot hold the nodata value nan"):
        fetch(*one_file(path, nodata=float("nan")), None, tmp_path / "staging")


def test_a_scene_without_data_is_refused(tmp_path: Path) -> None:
    path = write_band(tmp_path / "a.tif", np.zeros((64, 64), np.uint16))
    with pytest.raises(BadData, match="no data in any"):
        fetch(*one_file(path), None, tmp_path / "staging")


def test_undeclared_nan_is_refused_and_declared_nan_is_masked(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (64, 64)).astype(np.float32)
    pixels[:4] = np.nan
    path = write_band(tmp_path / "a.tif", pixels)
    declared = {"kind": "declared", "units": "reflectance"}
    with pytest.raises(BadData, match="nodata: nan"):
        fetch(*one_file(path, radiometry=declared), None, tmp_path / "staging")
    scene = fetch(*one_file(path, radiometry=declared, nodata=float("nan")), None, tmp_path / "staging")
    _, mask = pixels_of(scene, tmp_path / "staging")
    assert (mask[:4] == 1).all() and not mask[4:].any() and scene.nodata == "nan"
    row = json.loads((tmp_path / "staging" / "rows" / "scene.json").read_text())
    assert row["statistics"]["a"]["mean"] == pytest.approx(float(np.nanmean(pixels)), rel=1e-6)
    assert row["statistics"]["a"]["std"] == pytest.approx(float(np.nanstd(pixels)), rel=1e-4)


def test_wrong_band_count_names_both(tmp_path: Path) -> None:
    path = write_band(tmp_path / "a.tif", np.full((64, 64), 500, np.uint16))
    scene, scenes = one_file(path)
    with pytest.raises(BadData, match=r"has 1 bands.*names 2"):
        fetch(scene, scenes.model_copy(update={"bands": ("x", "y")}), None, tmp_path / "staging")


def test_bands_are_found_by_description(tmp_path: Path) -> None:
    path = tmp_path / "many.tif"
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 32, "height": 32, "crs": CRS}
    with rasterio.open(path, "w", **profile, transform=from_origin(*ORIGIN, 10, 10)) as out:
        out.write(np.stack([np.full((32, 32), v, np.uint8) for v in (10, 20, 30)]))
        out.descriptions = ("red", "green", "blue")
    scene, scenes = one_file(path, radiometry={"kind": "declared", "units": "dn"})
    scenes = scenes.model_copy(update={"bands": ("blue", "red")})
    pixels, _ = pixels_of(fetch(scene, scenes, None, tmp_path / "staging"), tmp_path / "staging")
    assert pixels[:, 0, 0].tolist() == [30, 10]


def test_a_virtual_path_is_no_file(tmp_path: Path) -> None:
    path = write_band(tmp_path / "a.tif", np.full((64, 64), 500, np.uint16))
    vrt = tmp_path / "a.vrt"
    rasterio.shutil.copy(path, vrt, driver="VRT")
    for href in (f"/vsisubfile/0_1000,{path}", str(vrt), str(tmp_path / "missing.tif")):
        scene, scenes = one_file(Path(href))
        with pytest.raises(BadData):
            fetch(scene, scenes, None, tmp_path / "staging")


def test_a_dead_server_is_worth_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("pipelines.scenes.remote", fromlist=["_OPTIONS"])._OPTIONS, "GDAL_HTTP_MAX_RETRY", "0"
    )
    scene, scenes = one_file(Path("x"))
    gone = scene.model_copy(update={"hrefs": ("http://127.0.0.1:9/a.tif",)})
    scenes = scenes.model_copy(update={"source": "http://127.0.0.1:9/catalog.json"})
    with pytest.raises(SwathError) as caught:
        fetch(gone, scenes, None, tmp_path / "staging")
    assert not isinstance(caught.value, BadData)


@pytest.mark.parametrize("sent", [0, 100, 20_000])
@pytest.mark.parametrize("cuts", [1, 2, 1000])
def test_a_download_that_breaks_off_is_tried_again_and_never_taken_for_a_damaged_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: int, sent: int
) -> None:
    monkeypatch.setitem(_OPTIONS, "GDAL_HTTP_MAX_RETRY", "2")
    monkeypatch.setitem(_OPTIONS, "GDAL_HTTP_RETRY_DELAY", "0.05")
    files = write_scene_files(tmp_path / "source", offset=-1000)
    whole = fetch(candidate(files), params("test"), None, tmp_path / "whole")
    for more in (cuts, 0):  # at another address once the line is mended: this process keeps what GDAL has seen
        source = Source(tmp_path / "source")
        source.cuts, source.bytes_sent = more, sent
        served = {name: f"{source.address}/{path.name}" for name, path in files.items()}
        try:
            asked = params(f"{source.address}/catalog.json")
            scene = fetch(candidate(served), asked, None, tmp_path / "staging")  # type: ignore[arg-type]
        except SwathError as error:
            assert not isinstance(error, BadData), error
            continue
        finally:
            source.shutdown()
        assert (scene.image_sha256, scene.mask_sha256) == (whole.image_sha256, whole.mask_sha256)
        return
    raise AssertionError("a whole download failed")


def test_a_nodata_value_that_only_a_coarse_band_states_counts_for_all(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "source", offset=-1000)
    with rasterio.open(files["B11"], "r+") as coarse:
        coarse.nodata = 0
    scene = fetch(candidate(files), params("test", nodata=None), None, tmp_path / "staging")
    _, mask = pixels_of(scene, tmp_path / "staging")
    assert (mask[:16] == MaskBit.NODATA).all() and not mask[18:].any() and scene.nodata == 0


def test_the_usual_fill_of_float_files_is_no_measurement(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).uniform(0, 0.5, (64, 64)).astype(np.float32)
    pixels[:2] = np.finfo(np.float32).min
    entry, scenes = one_file(
        write_band(tmp_path / "a.tif", pixels), radiometry={"kind": "declared", "units": "dn"}, nodata=None
    )
    with pytest.raises(BadData, match=r"numbers beyond 1e\+30"):
        fetch(entry, scenes, None, tmp_path / "staging")
    told = scenes.model_copy(update={"nodata": float(np.finfo(np.float32).min)})
    _, mask = pixels_of(fetch(entry, told, None, tmp_path / "staging"), tmp_path / "staging")
    assert (mask[:2] == MaskBit.NODATA).all() and not mask[2:].any()


def test_a_damaged_file_is_no_fault_of_the_network_whatever_its_address_says(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "connect" / "timeout", offset=-1000)
    files["B03"].write_bytes(b"no raster at all" * 100)
    with file_server(tmp_path) as (base, _):
        remote = {band: f"{base}/connect/timeout/{band}.tif" for band in files}
        with pytest.raises(BadData, match="Export it again"):
            fetch(candidate(remote), params(f"{base}/catalog.json"), None, tmp_path / "staging")
