"""Which bands and masks of a file make the scene, where the file itself says something about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from pipelines.errors import BadData
from pipelines.scenes.dates import Dates
from pipelines.scenes.fetch import fetch
from pipelines.scenes.scene import Scene
from pipelines.scenes.search import search
from tests.scenes.sources import CRS, ORIGIN, item, params, write_band, write_catalog
from tests.scenes.test_fetch import one_file, pixels_of

DECLARED = {"kind": "declared", "units": "reflectance"}


def write_bands(path: Path, descriptions: tuple[str | None, ...]) -> Path:
    """Each band holds ten times its number."""
    grid = {"driver": "GTiff", "dtype": "uint8", "width": 32, "height": 32, "crs": CRS}
    with rasterio.open(path, "w", count=len(descriptions), transform=from_origin(*ORIGIN, 10, 10), **grid) as out:
        out.write(np.stack([np.full((32, 32), 10 * (i + 1), np.uint8) for i in range(len(descriptions))]))
        out.descriptions = descriptions
    return path


def taken(tmp_path: Path, path: Path, bands: tuple[str, ...]) -> list[int]:
    candidate, scenes = one_file(path, radiometry=DECLARED)
    scene = fetch(candidate, scenes.model_copy(update={"bands": bands}), None, tmp_path / "staging")
    return list(pixels_of(scene, tmp_path / "staging")[0][:, 0, 0])


def test_names_of_bands_are_found_whatever_their_case(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "a.tif", ("b04", "b03", "b02"))
    assert taken(tmp_path, path, ("B02", "B03", "B04")) == [30, 20, 10]


def test_a_file_that_names_some_of_the_bands_is_not_taken_by_position(tmp_path: Path) -> None:
    path = write_bands(tmp_path / "a.tif", ("B04", "B03", "B02", "B8A"))
    with pytest.raises(BadData, match=r"named \['B04', 'B03', 'B02', 'B8A'\], and B08 of params.scenes.bands"):
        taken(tmp_path, path, ("B02", "B03", "B04", "B08"))


@pytest.mark.parametrize("names", [(None, None), ("Gray", "Undefined")])
def test_a_file_that_names_none_of_the_bands_is_taken_by_position(tmp_path: Path, names) -> None:
    assert taken(tmp_path, write_bands(tmp_path / "a.tif", names), ("B02", "B03")) == [10, 20]


def test_a_mask_in_a_file_beside_the_image_is_not_overlooked(tmp_path: Path) -> None:
    path = write_band(tmp_path / "a.tif", np.full((64, 64), 500, np.uint16))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as image:
        image.write_mask(np.arange(64 * 64).reshape(64, 64) < 2048)
    assert (tmp_path / "a.tif.msk").exists()
    with pytest.raises(BadData, match=r"a\.tif\.msk, which is not read"):
        fetch(*one_file(path), None, tmp_path / "staging")


@pytest.mark.parametrize("number", [-9999, 0])
def test_a_file_with_two_kinds_of_no_data_is_told_what_to_do(tmp_path: Path, number: int) -> None:
    pixels = np.full((64, 64), 0.2, np.float32)
    pixels[0], pixels[1] = number, np.nan
    path = write_band(tmp_path / "a.tif", pixels, nodata=number)
    with pytest.raises(BadData, match=rf"{number} is said to be no data; set params.scenes.nodata: nan"):
        fetch(*one_file(path, radiometry=DECLARED, nodata=None), None, tmp_path / "staging")
    scene = fetch(*one_file(path, radiometry=DECLARED, nodata=float("nan")), None, tmp_path / "staging")
    read, mask = pixels_of(scene, tmp_path / "staging")
    assert np.isnan(read[0, :2]).all() and (read[0, 2:] == np.float32(0.2)).all()
    assert (mask[:2] == 1).all() and not mask[2:].any()


def found(tmp_path: Path, held: dict[str, Path], **changes: object) -> Scene:
    catalog = write_catalog(tmp_path, [item("one", {name: str(path) for name, path in held.items()})])
    scenes = params(catalog, radiometry=DECLARED, **changes)
    (candidate,), _ = search(scenes, None, Dates.of(None))
    return fetch(candidate, scenes, None, tmp_path / "staging")


def test_one_asset_may_hold_all_bands_beside_others(tmp_path: Path) -> None:
    assets = {"multi": write_bands(tmp_path / "a.tif", ("B02", "B03")), "pan": write_bands(tmp_path / "p.tif", (None,))}
    scene = found(tmp_path, assets, assets=["multi"], bands=["B03", "B02"], cloud_mask={"asset": None})
    assert pixels_of(scene, tmp_path / "staging")[0][:, 0, 0].tolist() == [20, 10]


def test_the_only_image_beside_a_cloud_mask_needs_no_name(tmp_path: Path) -> None:
    classes = write_band(tmp_path / "scl.tif", np.full((32, 32), 8, np.uint8))
    assets = {"multi": write_bands(tmp_path / "a.tif", ("B02", "B03")), "scl": classes}
    mask = {"asset": "scl", "cloud": [9], "shadow": []}
    scene = found(tmp_path, assets, assets=[], bands=["B02", "B03"], cloud_mask=mask)
    assert (len(scene.bands), scene.cloud_share) == (2, 0.0)


def write_classes(path: Path, *bands: np.ndarray) -> Path:
    grid = {"driver": "GTiff", "dtype": bands[0].dtype, "width": 32, "height": 32, "crs": CRS}
    with rasterio.open(path, "w", count=len(bands), transform=from_origin(*ORIGIN, 10, 10), **grid) as out:
        out.write(np.stack(bands))
    return path


def test_bits_of_a_mask_are_told_from_its_numbers(tmp_path: Path) -> None:
    """Landsat's QA_PIXEL: bit 3 is cloud, bit 4 its shadow, and bits beside them say how sure."""
    numbers = np.full((32, 32), 21824, np.uint16)
    numbers[:8], numbers[8:16] = 22280, 23888
    assets = {
        "multi": write_bands(tmp_path / "a.tif", ("B02", "B03")),
        "qa": write_classes(tmp_path / "qa.tif", numbers),
    }
    mask = {"asset": "qa", "cloud": [3], "shadow": [4], "bits": True}
    scene = found(tmp_path, assets, assets=["multi"], bands=["B02", "B03"], cloud_mask=mask)
    shown = pixels_of(scene, tmp_path / "staging")[1]
    assert (shown[:8] == 2).all() and (shown[8:16] == 4).all() and not shown[16:].any()


def test_a_mask_that_is_said_to_hold_bits_is_not_read_as_numbers(tmp_path: Path) -> None:
    files = {name: write_bands(tmp_path / f"{name}.tif", ("B02",)) for name in ("multi", "qa")}
    document = item("one", files)
    document["assets"]["qa"]["classification:bitfields"] = [{"offset": 3, "length": 1}]
    mask = {"asset": "qa", "cloud": [3], "shadow": [4]}
    scenes = params(write_catalog(tmp_path, [document]), assets=["multi"], bands=["B02"], cloud_mask=mask)
    taken, (refused,) = search(scenes, None, Dates.of(None))
    assert not taken and "set cloud_mask.bits: true" in refused.reason
    ready = scenes.model_copy(update={"cloud_mask": scenes.cloud_mask.model_copy(update={"bits": True})})
    assert len(search(ready, None, Dates.of(None))[0]) == 1


def test_a_mask_of_several_bands_is_asked_which(tmp_path: Path) -> None:
    clear = np.ones((32, 32), np.uint8)
    clear[:8] = 0
    udm2 = write_classes(tmp_path / "udm2.tif", clear * 0, clear)
    assets = {"multi": write_bands(tmp_path / "a.tif", ("B02", "B03")), "udm2": udm2}
    asked = {"assets": ["multi"], "bands": ["B02", "B03"]}
    with pytest.raises(BadData, match=r"2 bands; say in scenes.cloud_mask.band"):
        found(tmp_path, assets, **asked, cloud_mask={"asset": "udm2", "cloud": [0]})
    scene = found(tmp_path, assets, **asked, cloud_mask={"asset": "udm2", "cloud": [0], "shadow": [], "band": 2})
    assert (pixels_of(scene, tmp_path / "staging")[1] == 2).sum() == 8 * 32


def test_alpha_is_no_band_by_position(tmp_path: Path) -> None:
    path = tmp_path / "rgba.tif"
    grid = {"driver": "GTiff", "count": 4, "dtype": "uint8", "width": 32, "height": 32, "crs": CRS}
    with rasterio.open(
        path, "w", transform=from_origin(*ORIGIN, 10, 10), photometric="RGB", alpha="YES", **grid
    ) as out:
        out.write(np.stack([np.full((32, 32), v, np.uint8) for v in (10, 20, 30)] + [np.uint8(np.tri(32)) * 255]))
    candidate, scenes = one_file(path, radiometry=DECLARED, nodata=None)
    scene = fetch(candidate, scenes.model_copy(update={"bands": ("r", "g", "b")}), None, tmp_path / "staging")
    pixels, mask = pixels_of(scene, tmp_path / "staging")
    assert pixels[:, 0, 0].tolist() == [10, 20, 30] and ((mask == 0) == (np.tri(32) == 1)).all()
