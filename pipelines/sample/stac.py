"""The sample as a static STAC catalog: one item a scene, one COG a band, named as Earth Search names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pystac.extensions.raster import SCHEMA_URI as RASTER
from rasterio.warp import transform_bounds
from shapely.geometry import box, mapping

from pipelines.files import replacing, write_json
from pipelines.sample.acquisition import PIXEL, UNLABELLED, Acquisition
from pipelines.sample.render import Picture
from pipelines.sample.sky import sun
from pipelines.sample.spectra import BANDS, COMMON_NAMES, WAVELENGTHS

_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
_VIEW = "https://stac-extensions.github.io/view/v1.0.0/schema.json"


def write_scene(root: Path, look: Acquisition, picture: Picture) -> None:
    """Write ``root/<id>/`` with the item and its COGs, whole or not at all."""
    with replacing(root / look.id) as draft:
        draft.mkdir()
        for band, pixels in zip(BANDS, picture.pixels, strict=True):
            _write_cog(draft / f"{band}.tif", pixels, look, "average")
        _write_cog(draft / "SCL.tif", picture.scl, look, "mode")
        write_json(draft / f"{look.id}.json", _item(look, picture))


def write_catalog(root: Path, ids: list[str]) -> None:
    """Write ``root/catalog.json`` that links the items of these ids, relative to itself."""
    catalog = pystac.Catalog(id="swath-sample", description="Generated scenes with known truth; not real imagery.")
    catalog.set_self_href(None)
    content = catalog.to_dict(include_self_link=False)
    content["links"] = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}] + [
        {"rel": "item", "href": f"./{id}/{id}.json", "type": "application/geo+json"} for id in sorted(ids)
    ]
    write_json(root / "catalog.json", content)


def _item(look: Acquisition, picture: Picture) -> dict[str, Any]:
    place, size = look.place, picture.scl.shape[0]
    bounds = (place.east, place.north - size * PIXEL, place.east + size * PIXEL, place.north)
    degrees = [round(v, 7) for v in transform_bounds(f"EPSG:{place.epsg}", "EPSG:4326", *bounds)]
    light = sun(look.day, place.latitude)
    item = pystac.Item(
        id=look.id,
        geometry=mapping(box(*degrees)),
        bbox=degrees,
        datetime=look.datetime,
        properties={
            "platform": look.platform,
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": PIXEL,
            "eo:cloud_cover": round(picture.cloud_cover, 4),
            "proj:code": f"EPSG:{place.epsg}",
            "proj:shape": [size, size],
            "proj:transform": [PIXEL, 0.0, place.east, 0.0, -PIXEL, place.north],
            "proj:bbox": list(bounds),
            "grid:code": f"MGRS-{place.name}",
            "view:sun_azimuth": round(light.azimuth, 4),
            "view:sun_elevation": round(light.elevation, 4),
            "s2:processing_baseline": look.baseline,
            "s2:nodata_pixel_percentage": round(100 * picture.nodata_share, 4),
            "earthsearch:boa_offset_applied": False,
            "sample:labelled": look.place is not UNLABELLED,
            "sample:drift": str(look.drift) if look.drift.strength else None,
        },
        stac_extensions=[_EO, _PROJECTION, RASTER, _VIEW],
    )
    for name, common, wavelength in zip(BANDS, COMMON_NAMES, WAVELENGTHS, strict=True):
        item.add_asset(
            name, _asset(name, {**_RADIOMETRY, "offset": -look.offset / 10000}, _eo(name, common, wavelength))
        )
    item.add_asset("SCL", _asset("SCL", {"data_type": "uint8", "nodata": 0, "spatial_resolution": PIXEL}, {}))
    content = item.to_dict(include_self_link=False)
    content["links"] = [
        {"rel": "root", "href": "../catalog.json", "type": "application/json"},
        {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
    ]
    return content


_RADIOMETRY = {"data_type": "uint16", "nodata": 0, "spatial_resolution": PIXEL, "scale": 0.0001}


def _eo(name: str, common: str, wavelength: float) -> dict[str, Any]:
    return {"eo:bands": [{"name": name, "common_name": common, "center_wavelength": wavelength}]}


def _asset(name: str, raster: dict[str, Any], more: dict[str, Any]) -> pystac.Asset:
    fields = {"raster:bands": [raster], **more}
    return pystac.Asset(
        f"./{name}.tif", title=name, media_type=pystac.MediaType.COG, roles=["data"], extra_fields=fields
    )


def _write_cog(target: Path, pixels: NDArray[Any], look: Acquisition, resampling: str) -> None:
    place = look.place
    profile = {
        "driver": "COG",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "count": 1,
        "dtype": np.dtype(pixels.dtype).name,
        "nodata": 0,
        "crs": f"EPSG:{place.epsg}",
        "transform": Affine(PIXEL, 0, place.east, 0, -PIXEL, place.north),
        "compress": "deflate",
        "level": 1,  # noise compresses no better with more effort
        "predictor": "yes",
        "blocksize": 256,
        "overview_resampling": resampling,
        "bigtiff": "if_safer",
    }
    with rasterio.open(target, "w", **profile) as out:
        out.write(pixels, 1)
