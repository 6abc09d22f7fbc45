"""What fits a model's contract is read as it means; what breaks it is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp

from pipelines.bundle.contract import Contract
from pipelines.config.params import LabelClass, Model
from pipelines.dataset.statistics import BandStatistics, Statistics
from pipelines.errors import BadData
from pipelines.inference.raster import of_file, of_scene
from pipelines.lineage.revision import Revision
from pipelines.scenes.scene import Band, MaskBit
from tests.builders import write_scene

NAMES = ("B02", "B03", "B04")


@pytest.fixture
def contract() -> Contract:
    def statistics(name: str) -> BandStatistics:
        spread = {"mean": 0.2, "std": 0.1, "minimum": 0.0, "maximum": 1.0, "p01": 0.02, "p99": 0.6}
        return BandStatistics(name=name, units="reflectance", **spread)

    return Contract(
        project="sample",
        task="segmentation",
        model=Model(library="smp", name="Unet", encoder="resnet18"),
        bands=tuple(Band(name=name, units="reflectance", scale=1e-4, offset=0.0) for name in NAMES),
        dtype="uint16",
        nodata=0,
        statistics=Statistics(bands=tuple(map(statistics, NAMES)), class_pixels={"a": 1, "b": 1}, chips=1),
        resolution=(9.9, 10.1),
        classes=(LabelClass(name="a", value=1, color="#000000"), LabelClass(name="b", value=2, color="#ffffff")),
        temperature=1.0,
        window=64,
        overlap=16,
        batch=4,
        activation_bytes=256,
        metrics={},
        revision=Revision(commit=None, dataset=None),
        files={},
    )


def dn(height=40, width=50):
    return np.random.default_rng(0).integers(500, 4000, (3, height, width), dtype=np.uint16)


def write(path: Path, pixels, *, names=NAMES, pixel=10.0, crs="EPSG:32721", nodata=None, **tags):
    grid = {"crs": crs, "transform": Affine(pixel, 0, 500_000, 0, -pixel, 9_000_000)}
    shape = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", nodata=nodata, **grid, **shape) as out:
        out.write(pixels)
        if names:
            out.descriptions = names
        for name, value in tags.items():
            setattr(out, name, value)
    return path


def whole(raster):
    with raster.open() as source:
        return source.read(slice(0, source.height))


def test_file_without_tags_is_read_by_the_contract(tmp_path, contract):
    pixels, mask = whole(of_file(write(tmp_path / "a.tif", dn()), contract))
    np.testing.assert_allclose(pixels, dn() * 1e-4, rtol=1e-5)
    assert not mask.any()


@pytest.mark.parametrize(("name", "offset"), [("S2A_N0509_R1.tif", -0.1), ("S2A_N0208_R1.tif", 0.0)])
def test_numbers_of_sentinel_2_are_settled_by_baseline_and_pixels(tmp_path, contract, name, offset):
    contract = contract.model_copy(update={"radiometry": "sentinel2"})
    values = dn() + np.uint16(0 if offset == 0 else 1000)
    pixels, _ = whole(of_file(write(tmp_path / name, values), contract))
    np.testing.assert_allclose(pixels, values * 1e-4 + offset, atol=1e-6)


@pytest.mark.parametrize("name", ["S2A_N0509_R1.tif", "unnamed.tif"])  # the pixels deny it, and nothing says it
def test_numbers_of_sentinel_2_that_cannot_be_settled_are_refused(tmp_path, contract, name):
    contract = contract.model_copy(update={"radiometry": "sentinel2"})
    with pytest.raises(BadData, match="states no scale and offset"):
        of_file(write(tmp_path / name, dn()), contract)


def test_a_dark_pixel_of_a_byte_image_is_no_missing_one(tmp_path, contract):
    values = np.full((3, 40, 50), 90, np.uint8)
    values[0, 3, 4] = values[:, 20, 20] = 0
    contract = contract.model_copy(
        update={
            "dtype": "uint8",
            "bands": tuple(Band(name=name, units="reflectance", scale=1 / 255, offset=0.0) for name in NAMES),
        }
    )
    _, mask = whole(of_file(write(tmp_path / "a.tif", values), contract))
    assert mask[20, 20] == MaskBit.NODATA and mask[3, 4] == 0


def test_bytes_are_no_numbers_of_a_model_of_sixteen_bits(tmp_path, contract):
    picture = np.random.default_rng(0).integers(20, 250, (3, 40, 50)).astype(np.uint8)
    for radiometry, name in (("declared", "TCI.tif"), ("sentinel2", "S2A_N0208_TCI.tif")):
        with pytest.raises(BadData, match="pixels of type uint8 and states no scale"):
            of_file(write(tmp_path / name, picture), contract.model_copy(update={"radiometry": radiometry}))
    of_file(write(tmp_path / "told.tif", picture, scales=(1 / 255,) * 3), contract)


def test_the_usual_fill_of_float_files_has_no_data(tmp_path, contract):
    values = (dn() * 1e-4).astype(np.float32)
    values[:, :3] = np.finfo(np.float32).min
    _, mask = whole(of_file(write(tmp_path / "a.tif", values), contract))
    assert (mask[:3] == MaskBit.NODATA).all() and not mask[3:].any()


@pytest.mark.parametrize("radiometry", ["declared", "sentinel2"])
def test_a_file_that_was_cut_short_is_refused_before_anything_is_made_of_it(tmp_path, contract, radiometry):
    path = tmp_path / "S2A_N0208_R1.tif"
    rasterio.shutil.copy(write(tmp_path / "whole.tif", dn(400, 500)), path, driver="COG", blocksize=128)  # header first
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadData, match="fetch it again"):
        of_file(path, contract.model_copy(update={"radiometry": radiometry}))


def test_a_file_whose_coordinates_its_crs_does_not_know_is_refused(tmp_path, contract):
    with pytest.raises(BadData, match="correct its CRS"):
        of_file(write(tmp_path / "a.tif", dn(), crs="EPSG:4326"), contract)


def test_tags_of_the_file_win_over_the_contract(tmp_path, contract):
    tags = {"scales": (1e-4,) * 3, "offsets": (-0.1,) * 3}
    pixels, _ = whole(of_file(write(tmp_path / "a.tif", dn(), **tags), contract))
    np.testing.assert_allclose(pixels, dn() * 1e-4 - 0.1, atol=1e-6)


def test_floats_without_tags_are_physical_already(tmp_path, contract):
    values = (dn() * 1e-4).astype(np.float32)
    pixels, _ = whole(of_file(write(tmp_path / "a.tif", values), contract))
    np.testing.assert_allclose(pixels, values)


def test_bands_are_found_by_name_in_any_order_among_others(tmp_path, contract):
    values = np.concatenate([dn()[::-1], dn()[:1] * 0 + 9])
    path = write(tmp_path / "a.tif", values, names=("B04", "B03", "B02", "B99"))
    np.testing.assert_allclose(whole(of_file(path, contract))[0], dn() * 1e-4, rtol=1e-5)


def test_nameless_bands_are_taken_in_order_and_counted(tmp_path, contract):
    pixels, _ = whole(of_file(write(tmp_path / "a.tif", dn(), names=None), contract))
    np.testing.assert_allclose(pixels, dn() * 1e-4, rtol=1e-5)
    with pytest.raises(BadData, match="2 bands without names, but the model takes 3"):
        of_file(write(tmp_path / "b.tif", dn()[:2], names=None), contract)


def test_missing_bands_are_named(tmp_path, contract):
    with pytest.raises(BadData, match="also takes B04"):
        of_file(write(tmp_path / "a.tif", dn(), names=("B02", "B03", "B8A")), contract)


@pytest.mark.parametrize("declared", [0, None])
def test_nodata_declared_or_of_the_contract_is_masked(tmp_path, contract, declared):
    values = dn()
    values[:, 3:9, 4:7] = 0
    values[0, 20, 20] = 0  # a number of which one band has none is of no use to a network
    _, mask = whole(of_file(write(tmp_path / "a.tif", values, nodata=declared), contract))
    expected = np.zeros(mask.shape, np.uint8)
    expected[3:9, 4:7] = expected[20, 20] = MaskBit.NODATA
    assert np.array_equal(mask, expected)


def test_values_that_are_not_finite_are_masked(tmp_path, contract):
    values = (dn() * 1e-4).astype(np.float32)
    values[1, 5, 5] = np.nan  # in one band
    _, mask = whole(of_file(write(tmp_path / "a.tif", values), contract))
    assert mask[5, 5] == MaskBit.NODATA and (mask != 0).sum() == 1


def test_digital_numbers_instead_of_reflectance_are_refused(tmp_path, contract):
    with pytest.raises(BadData, match="training saw"):
        of_file(write(tmp_path / "a.tif", dn().astype(np.float32)), contract)


def test_reflectance_scaled_twice_is_refused(tmp_path, contract):
    with pytest.raises(BadData, match="thousand times smaller"):
        of_file(write(tmp_path / "a.tif", (dn() * 1e-8).astype(np.float32)), contract)


def test_a_raster_without_any_data_is_not_judged_by_its_values(tmp_path, contract):
    _, mask = whole(of_file(write(tmp_path / "a.tif", dn() * 0, nodata=0), contract))
    assert (mask == MaskBit.NODATA).all()


def test_other_units_are_refused(tmp_path, contract):
    with pytest.raises(BadData, match="in kelvin, but the model was trained on reflectance"):
        of_file(write(tmp_path / "a.tif", dn(), units=("kelvin",) * 3), contract)


@pytest.mark.parametrize(("pixel", "fits"), [(10.0, True), (14.0, True), (7.0, True), (20.0, False), (5.0, False)])
def test_pixels_beyond_the_trained_range_are_refused(tmp_path, contract, pixel, fits):
    path = write(tmp_path / "a.tif", dn(), pixel=pixel)
    if fits:
        assert of_file(path, contract).width == 50
    else:
        with pytest.raises(BadData, match="resample"):
            of_file(path, contract)


def test_ground_resolution_counts_metres_whatever_the_crs(tmp_path, contract):
    path = write(tmp_path / "a.tif", dn(), pixel=10.0 / 111_320, crs="EPSG:4326")
    with rasterio.open(path, "r+") as out:  # the equator, where a degree is about 111 km both ways
        out.transform = Affine(10.0 / 111_320, 0, 20, 0, -10.0 / 110_574, 0)
    assert of_file(path, contract).crs == "EPSG:4326"


def test_what_is_no_placed_raster_is_refused(tmp_path, contract):
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(BadData, match="cannot be opened"):
        of_file(tmp_path / "text.tif", contract)
    with pytest.raises(BadData, match="CRS"):
        of_file(write(tmp_path / "a.tif", dn(), crs=None), contract)


def test_a_truncated_file_is_an_error_and_never_zeros(tmp_path, contract):
    path = write(tmp_path / "a.tif", dn(600, 600))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadData, match="cannot be"):
        whole(of_file(path, contract))


def test_a_scene_is_read_with_its_own_radiometry_and_mask(tmp_path, contract):
    mask = np.zeros((40, 50), np.uint8)
    mask[2:5] = MaskBit.CLOUD
    scene = write_scene(tmp_path, dn()[::-1], mask=mask, bands=NAMES[::-1], offset=-0.05)
    pixels, seen = whole(of_scene(scene, tmp_path, contract))
    np.testing.assert_allclose(pixels, dn() * 1e-4 - 0.05, atol=1e-6)
    assert np.array_equal(seen, mask)


def test_scenes_that_break_the_contract_are_refused(tmp_path, contract):
    with pytest.raises(BadData, match="also takes B04"):
        of_scene(write_scene(tmp_path, dn(), bands=("B02", "B03", "B05")), tmp_path, contract)
    with pytest.raises(BadData, match="resample"):
        of_scene(write_scene(tmp_path, dn(), bands=NAMES, pixel=30.0), tmp_path, contract)
    with pytest.raises(BadData, match="training saw"):
        of_scene(write_scene(tmp_path, dn(), bands=NAMES, scale=1.0), tmp_path, contract)


def test_the_mask_of_an_alpha_band_is_kept(tmp_path, contract):
    alpha = np.full((1, 40, 50), 65535, np.uint16)
    alpha[0, 7:9, 7:9] = 0
    path = write(tmp_path / "a.tif", np.concatenate([dn(), alpha]), names=None)
    with rasterio.open(path, "r+") as out:
        out.colorinterp = (*[ColorInterp.gray] * 3, ColorInterp.alpha)
    _, mask = whole(of_file(path, contract))
    assert (mask[7:9, 7:9] == MaskBit.NODATA).all() and (mask != 0).sum() == 4
