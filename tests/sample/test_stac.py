from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from pipelines.sample.spectra import BANDS


@pytest.fixture(scope="module")
def items(region: Path) -> list[pystac.Item]:
    return list(pystac.Catalog.from_file(region / "catalog.json").get_items())


def test_catalog_reads_back_wherever_it_is_moved(region: Path, items: list[pystac.Item]) -> None:
    assert len(items) == 5
    for path in region.rglob("*.json"):
        assert str(region) not in path.read_text()
    for item in items:
        assert item.get_root().id == "swath-sample"
        assert set(item.assets) == {*BANDS, "SCL"}
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href()).is_file()


def test_item_describes_its_files(items: list[pystac.Item]) -> None:
    for item in items:
        for name, asset in item.assets.items():
            with rasterio.open(asset.get_absolute_href()) as source:
                assert item.properties["proj:code"] == source.crs.to_string()
                assert item.properties["proj:shape"] == list(source.shape)
                assert item.properties["proj:transform"] == list(source.transform)[:6]
                assert source.nodata == asset.extra_fields["raster:bands"][0]["nodata"] == 0
                assert source.dtypes == (asset.extra_fields["raster:bands"][0]["data_type"],)
                assert source.dtypes == ("uint8" if name == "SCL" else "uint16",)
                assert source.count == 1
            west, south, east, north = item.bbox
            assert -60 < west < east < -48 and south < north


def test_assets_are_valid_cogs(items: list[pystac.Item]) -> None:
    for asset in items[0].assets.values():
        valid, errors, _ = cog_validate(asset.get_absolute_href(), quiet=True)
        assert valid, errors


def test_both_zones_and_both_baselines_are_there(items: list[pystac.Item]) -> None:
    assert {i.properties["proj:code"] for i in items} == {"EPSG:32721", "EPSG:32722"}
    offsets = {
        i.properties["s2:processing_baseline"]: {
            a.extra_fields["raster:bands"][0].get("offset") for a in i.assets.values()
        }
        for i in items
    }
    assert offsets == {"03.01": {0.0, None}, "05.09": {-0.1, None}}


def test_the_date_alone_does_not_tell_the_baseline(items: list[pystac.Item]) -> None:
    ordered = [i.properties["s2:processing_baseline"] for i in sorted(items, key=lambda i: i.datetime)]
    assert ordered != sorted(ordered)


def test_zero_means_no_data_in_every_band_alike(items: list[pystac.Item]) -> None:
    shares = []
    for item in items:
        read = {name: rasterio.open(a.get_absolute_href()).read(1) for name, a in item.assets.items()}
        outside = read["SCL"] == 0
        for name in BANDS:
            np.testing.assert_array_equal(read[name] == 0, outside)
        shares.append(outside.mean())
        assert item.properties["s2:nodata_pixel_percentage"] == pytest.approx(100 * outside.mean(), abs=1e-3)
        clouds = np.isin(read["SCL"], (8, 9)).sum() / (~outside).sum()
        assert item.properties["eo:cloud_cover"] == pytest.approx(100 * clouds, abs=1e-3)
    assert max(shares) > 0.02, "no scene has a swath's edge in it"
    assert min(shares) == 0
