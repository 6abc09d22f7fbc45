"""Masks by a model: where it looks, what it sees, what becomes of its answer, and what it is worth on real imagery."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from pipelines.config.params import CloudMask
from pipelines.errors import BadData, SwathError
from pipelines.scenes import clouds
from pipelines.scenes.dates import Dates
from pipelines.scenes.fetch import fetch
from pipelines.scenes.scene import Band, MaskBit
from pipelines.scenes.search import search
from tests.scenes.sources import CRS, ORIGIN, item, params, write_band, write_catalog, write_scene_files

LIGHTS = ("blue", "green", "red", "nir", "swir16", "swir22")
MODEL = {"model": "ukis-csmask", "level": "l1c", "bands": {name: name for name in LIGHTS}}
real = pytest.mark.skipif(
    importlib.util.find_spec("ukis_csmask") is None, reason="the extra is not installed: ukis-csmask"
)
NPZ = Path(os.environ.get("SWATH_DATA", "unset")) / "cloud-shadow-6band"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float32]]:
    """A package that calls red above 0.5 cloud and nir below 0.1 shadow; returns all that it was shown."""
    shown: list[NDArray[np.float32]] = []

    def csmask(image: NDArray[np.float32], order: list[str], level: str, **_: Any) -> SimpleNamespace:
        assert image.dtype == np.float32 and image.shape[2] == len(order) and level in ("l1c", "l2a")
        shown.append(image.copy())
        red, nir = image[:, :, order.index("red")], image[:, :, order.index("nir")]
        return SimpleNamespace(csm=np.select([red > 0.5, nir < 0.1], [1, 2], 0).astype(np.uint8)[:, :, None])

    module = ModuleType("ukis_csmask.mask")
    module.CSmask = csmask  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ukis_csmask.mask", module)
    monkeypatch.setattr(clouds, "find_spec", lambda _: module)
    monkeypatch.setattr(clouds, "version", lambda _: "0")
    return shown


def write_image(folder: Path, reflectance: NDArray[Any], nodata: NDArray[np.bool_], dtype: str = "uint16") -> None:
    """``image.tif``, reflectance times 10,000 plus 1000, and ``mask.tif`` with nothing but nodata."""
    folder.mkdir(exist_ok=True)
    numbers = reflectance * 10_000 + 1000
    pixels = numbers.astype(dtype) if dtype.startswith("float") else np.rint(numbers).astype(dtype)
    pixels[:, nodata] = np.nan if dtype.startswith("float") else 0
    grid = {"driver": "GTiff", "height": pixels.shape[1], "width": pixels.shape[2]}
    grid |= {"crs": CRS, "transform": from_origin(*ORIGIN, 10, 10)}
    with rasterio.open(folder / "image.tif", "w", count=len(pixels), dtype=dtype, **grid) as out:
        out.write(pixels)
    with rasterio.open(folder / "mask.tif", "w", count=1, dtype="uint8", **grid) as out:
        out.write(nodata.astype(np.uint8), 1)


def masked(
    folder: Path,
    reflectance: NDArray[Any],
    resolution: float,
    *,
    nodata: NDArray[np.bool_] | None = None,
    dtype: str = "uint16",
    **changes: Any,
) -> NDArray[np.uint8]:
    """The bits ``(rows, columns)`` of an image ``(6, rows, columns)``."""
    without = np.zeros(reflectance.shape[1:], bool) if nodata is None else nodata
    write_image(folder, reflectance, without, dtype)
    bands = [Band(name=name, units="reflectance", scale=1e-4, offset=-0.1) for name in LIGHTS]
    means = np.array([band[~without].mean() * 10_000 + 1000 for band in reflectance])
    asked = CloudMask.model_validate(MODEL | changes)
    files = folder / "image.tif", folder / "mask.tif"
    found, sentence = clouds.mask_clouds(*files, bands, means, asked, resolution)
    with rasterio.open(folder / "mask.tif") as stored:
        bits: NDArray[np.uint8] = stored.read(1)
    assert found == np.count_nonzero(bits & (MaskBit.CLOUD | MaskBit.SHADOW))
    assert asked.level in sentence and f"{len(asked.bands)} bands" in sentence
    return bits


def landscape(rows: int, columns: int) -> NDArray[np.float64]:
    """Land with a cloud and its shadow."""
    image = np.full((6, rows, columns), 0.3)
    image[:, 20:41, 10:31] = 0.8
    image[:, 50:60, 40:70] = 0.02
    return image


def test_what_the_model_finds_becomes_bits_where_there_is_data(
    tmp_path: Path, stand_in: list[NDArray[np.float32]]
) -> None:
    image, nodata = landscape(101, 143), np.zeros((101, 143), bool)
    nodata[:, :15] = True  # through the cloud
    expected = np.select([nodata, image[2] > 0.5, image[3] < 0.1], [1, 2, 4])
    assert np.array_equal(masked(tmp_path, image, 30, nodata=nodata), expected)
    assert (
        np.abs(stand_in[0] - np.where(nodata, image[:, ~nodata].mean(1)[:, None, None], image).T.swapaxes(0, 1)).max()
        < 1e-6
    )
    assert np.array_equal(masked(tmp_path, image, 30, nodata=nodata, dtype="float32"), expected)


def test_fine_scenes_are_seen_in_cells_of_30_m(tmp_path: Path, stand_in: list[NDArray[np.float32]]) -> None:
    image, nodata = landscape(101, 143), np.zeros((101, 143), bool)
    nodata[:2, :2] = nodata[90:93, 90:93] = True
    bits = masked(tmp_path, image, 10, nodata=nodata)
    [shown] = stand_in
    assert shown.shape == (34, 48, 6)
    assert shown[0, 0, 0] == pytest.approx(0.3)  # of the five pixels with data
    assert shown[6, 3, 0] == pytest.approx((7 * 0.3 + 2 * 0.8) / 9)  # a corner of the cloud
    assert (bits[nodata] == 1).all()
    assert ((bits == 2) == (np.pad(shown[:, :, 2], 0).repeat(3, 0).repeat(3, 1)[:101, :143] > 0.5)).all()


def test_bands_are_the_named_ones_in_the_named_order(tmp_path: Path, stand_in: list[NDArray[np.float32]]) -> None:
    image = np.full((6, 64, 64), 1.0) * np.arange(1, 7)[:, None, None] / 10
    masked(tmp_path, image, 30, bands={"nir": "swir16", "blue": "nir", "green": "blue", "red": "green"})
    assert np.allclose(stand_in[0][0, 0], (0.5, 0.4, 0.1, 0.2))


def test_windows_without_data_are_not_looked_at(
    tmp_path: Path, stand_in: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clouds, "_CORE", 204)
    nodata = np.zeros((100, 1500), bool)
    nodata[:, 10:] = True
    bits = masked(tmp_path, np.full((6, 100, 1500), 0.8), 30, nodata=nodata)
    assert len(stand_in) == 2  # the one with data, and the one that has it as a neighbour
    assert (bits == np.where(nodata, 1, 2)).all()
    assert max(image.size for image in stand_in) <= 100 * (2 * 204 + 204 + 1) * 6


def test_a_fetched_scene_without_classes_says_how_it_was_masked(
    tmp_path: Path, stand_in: list[NDArray[np.float32]]
) -> None:
    reflectance = np.full((256, 256), 0.3)
    reflectance[60:90, 90:120] = 0.8
    numbers = np.round(reflectance * 10_000 + np.random.default_rng(0).uniform(0, 100, (256, 256))).astype(np.uint16)
    numbers[:16] = 0
    files = {band: write_band(tmp_path / "in" / f"{band}.tif", numbers) for band in LIGHTS}
    source = write_catalog(tmp_path / "in", [item("scene", files)])
    settings = params(
        source,
        assets=list(LIGHTS),
        bands=list(LIGHTS),
        radiometry={"kind": "declared", "units": "reflectance", "scale": 1e-4},
        cloud_mask={"asset": "SCL", "cloud": [9]} | MODEL,
    )
    [candidate], refused = search(settings, None, Dates.of(None))
    scene = fetch(candidate, settings, None, tmp_path / "staging")
    assert not refused and scene.clouds == "By ukis-csmask 0 for l1c, from 6 bands at 30 m."
    assert scene.cloud_share == pytest.approx(900 / (240 * 256))
    with rasterio.open(scene.mask_path(tmp_path / "staging")) as stored:
        bits = stored.read(1)
    assert (bits[:16] == MaskBit.NODATA).all()
    assert ((bits & MaskBit.CLOUD) > 0).sum() == 900 and (bits[60:90, 90:120] == MaskBit.CLOUD).all()


def test_classes_that_a_scene_brings_go_before_the_model(tmp_path: Path, stand_in: list[NDArray[np.float32]]) -> None:
    files = write_scene_files(tmp_path / "in", offset=-1000, scl=np.full((128, 128), 9, np.uint8))
    bands = ["B02", "B03", "B11"]
    mask = {"asset": "SCL", "cloud": [9]} | MODEL | {"bands": dict(zip(LIGHTS, [*bands, "B11"], strict=False))}
    settings = params(write_catalog(tmp_path / "in", [item("scene", files)]), cloud_mask=mask)
    [candidate], _ = search(settings, None, Dates.of(None))
    scene = fetch(candidate, settings, None, tmp_path / "staging")
    assert not stand_in and scene.cloud_share == 1
    assert scene.clouds == "Classes of the asset SCL: cloud [9], shadow []."


def test_geotiffs_bring_no_classes(tmp_path: Path, stand_in: list[NDArray[np.float32]]) -> None:
    write_band(tmp_path / "a.tif", np.full((32, 32), 5, np.uint8))
    bands = {"bands": dict.fromkeys(LIGHTS[:4], "a")}
    settings = params(tmp_path, assets=[], bands=["a"], cloud_mask={"asset": "SCL"} | MODEL | bands)
    found, refused = search(settings, None, Dates.of(None))
    assert [one.id for one in found] == ["a"] and not refused


def test_a_model_that_is_not_installed_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clouds, "find_spec", lambda _: None)
    mask = MODEL | {"bands": dict.fromkeys(LIGHTS, "B02")}
    with pytest.raises(SwathError, match="pip install ukis-csmask") as caught:
        search(params(tmp_path / "nowhere", cloud_mask=mask), None, Dates.of(None))
    assert not isinstance(caught.value, BadData)  # or scenes would be set aside for what they cannot help


def test_settings_of_the_model_change_no_fingerprint_while_there_is_none(tmp_path: Path) -> None:
    files = write_scene_files(tmp_path / "in", offset=-1000)
    source = write_catalog(tmp_path / "in", [item("scene", files)])

    def fingerprint(**changes: Any) -> str:
        return search(params(source, cloud_mask={"asset": "SCL"} | changes), None, Dates.of(None))[0][0].fingerprint

    assert fingerprint() == fingerprint(level="l1c", bands={"blue": "B02"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bands": {"blue": "B02", "green": "B03", "red": "B03"}}, "looks for cloud in nir too"),
        ({"bands": dict.fromkeys(LIGHTS[:5], "B02")}, "name both in bands, or neither"),
        ({"bands": dict.fromkeys(LIGHTS, "B02") | {"red": "B04"}}, "B04, which is not among scenes.bands"),
        ({"bands": dict.fromkeys((*LIGHTS, "violet"), "B02")}, "violet"),
        ({"model": "fmask"}, "ukis-csmask"),
    ],
)
def test_a_model_that_cannot_see_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        params("source", cloud_mask=MODEL | change)


def test_a_model_sees_reflectance_only() -> None:
    mask = MODEL | {"bands": dict.fromkeys(LIGHTS, "B02")}
    with pytest.raises(ValueError, match="not in kelvin"):
        params("source", cloud_mask=mask, radiometry={"kind": "declared", "units": "kelvin"})


@real
@pytest.mark.slow
def test_a_scene_in_windows_is_masked_as_it_is_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 0.8, (40, 100)).repeat(8, 0).repeat(8, 1)[:300, :720]
    image = np.clip(coarse + random.normal(0, 0.02, (6, 300, 720)), 0.001, 1)
    nodata = np.zeros((300, 720), bool)
    nodata[100:150, 350:] = True
    whole = masked(tmp_path / "a", image, 30, nodata=nodata)
    monkeypatch.setattr(clouds, "_CORE", 204)
    assert np.array_equal(masked(tmp_path / "b", image, 30, nodata=nodata), whole)
    assert len(np.unique(whole[:, :600])) > 2, "nothing was found, so nothing was compared"


@real
@pytest.mark.slow
@pytest.mark.skipif(not NPZ.is_dir(), reason="SWATH_DATA does not name a folder with cloud-shadow-6band")
@pytest.mark.parametrize(
    ("satellite", "accuracy", "cloud", "shadow"), [("landsat5", 0.81, 0.80, 0.62), ("landsat7", 0.84, 0.79, 0.62)]
)
def test_clouds_and_shadows_of_landsat_are_found(
    tmp_path: Path, satellite: str, accuracy: float, cloud: float, shadow: float
) -> None:
    with np.load(NPZ / f"{satellite}.npz") as stored:
        image, classes = stored["img"].transpose(2, 0, 1), stored["msk"][:, :, 0]
    bits = masked(tmp_path, np.clip(image, 0.0, None), 30)
    truth = np.select([classes == 4, classes == 0], [2, 4], 0)
    iou = {bit: ((bits == bit) & (truth == bit)).sum() / ((bits == bit) | (truth == bit)).sum() for bit in (2, 4)}
    assert (bits == truth).mean() > accuracy
    assert iou[2] > cloud and iou[4] > shadow
