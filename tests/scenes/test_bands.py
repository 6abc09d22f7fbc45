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


def test_a_file_with_two_kinds_of_no_data_is_told_what_to_do(tmp_path: Path) -> None:
    pixels = np.full((64, 64), 0.2, np.float32)
    pixels[0], pixels[1] = -9999, np.nan
    path = write_band(tmp_path / "a.tif", pixels, nodata=-9999)
    with pytest.raises(BadData, match=r"-9999 is said to be no data.*give them that"):
        fetch(*one_file(path, radiometry=DECLARED, nodata=None), None, tmp_path / "staging")


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
