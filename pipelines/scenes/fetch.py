"""One scene from its source to a staged folder: COG of pixels, COG of mask bits, STAC item, row for the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.enums import ColorInterp
from rasterio.warp import transform

from pipelines.config.params import Scenes
from pipelines.errors import BadData
from pipelines.files import replacing, sha256, write_json
from pipelines.scenes.area import Bounds
from pipelines.scenes.bands import Bands, bands_of
from pipelines.scenes.candidate import Candidate, public, safe_id
from pipelines.scenes.catalog import write_item
from pipelines.scenes.clouds import mask_clouds
from pipelines.scenes.footprint import footprint
from pipelines.scenes.radiometry import DARK, settle
from pipelines.scenes.remote import gdal
from pipelines.scenes.scene import Band, Scene
from pipelines.scenes.staging import rows_folder
from pipelines.scenes.tally import Tally

_DRAFT = {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "BIGTIFF": "IF_SAFER"}
_COG = {"driver": "COG", "BLOCKSIZE": "512", "COMPRESS": "DEFLATE", "BIGTIFF": "IF_SAFER", "NUM_THREADS": "1"}


def fetch(candidate: Candidate, scenes: Scenes, area: Bounds | None, staging: Path) -> Scene:
    """Bring ``candidate`` into ``staging/scenes/<id>``, whole or not at all, in memory bounded by a few windows.

    Pixels keep the values and the type that they have at the source. Raises ``BadData`` if the scene is unusable,
    ``SwathError`` if its source cannot be reached.
    """
    folder = staging / "scenes" / safe_id(candidate.id)
    with gdal(), replacing(folder) as draft:
        draft.mkdir()
        with bands_of(candidate, scenes, area) as bands:
            tally = _copy(bands, scenes.bands, draft)
            if not tally.valid:
                raise BadData(
                    f"{candidate.source} has no data in any of its pixels (in the area asked for, nodata "
                    f"{bands.nodata}); check the area and params.scenes.nodata."
                )
            settled, sentence = settle(
                scenes.radiometry,
                scenes.bands,
                list(tally.percentile(DARK)),
                baseline=candidate.baseline,
                offset_applied=candidate.offset_applied,
                quantities=bands.quantities,
            )
            clouds = _clouds(candidate, scenes, bands, tally, settled, draft)
            scene = _finish(candidate, bands, tally, settled, (sentence, clouds), draft)
        statistics = _statistics(scene, tally)
        if not np.isfinite([list(band.values()) for band in statistics.values()]).all():
            raise BadData(
                f"{scene.source} has values that are too large to add up; announce its nodata value in "
                "params.scenes.nodata, or correct the pixels."
            )
        described = [_described(scene, band, statistics[band.name]) for band in scene.bands]
        write_item(draft, scene, fingerprint=candidate.fingerprint, dated=candidate.dated, bands=described)
        row = scene.model_dump(mode="json", exclude={"geometry"}) | {"statistics": statistics}
        write_json(rows_folder(staging) / f"{scene.id}.json", row | {"fingerprint": candidate.fingerprint})
    return scene


def _copy(bands: Bands, names: tuple[str, ...], draft: Path) -> Tally:
    """Stream pixels and mask into plain GeoTIFFs beside the COGs to be."""
    tally = Tally(len(names), bands.width, bands.height)
    grid = _DRAFT | {"crs": bands.crs, "transform": bands.transform, "width": bands.width, "height": bands.height}
    profile = grid | {"count": len(names), "dtype": bands.dtype, "nodata": bands.nodata, "PHOTOMETRIC": "MINISBLACK"}
    with (
        rasterio.open(draft / "image.draft.tif", "w", **profile, ALPHA="NO") as image,
        rasterio.open(draft / "mask.draft.tif", "w", **grid, count=1, dtype="uint8") as mask,
    ):
        image.descriptions = names
        image.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(names) - 1)
        for window in bands.windows():
            pixels, bits = bands.read(window)
            tally.add(window, pixels, bits)
            image.write(pixels, window=window)
            mask.write(bits, 1, window=window)
    return tally


def _clouds(
    candidate: Candidate, scenes: Scenes, bands: Bands, tally: Tally, settled: tuple[Band, ...], draft: Path
) -> str | None:
    """How cloud and shadow were found; by the model now, which needs the radiometry, or with the pixels before."""
    asked = scenes.cloud_mask
    if candidate.mask is not None:
        return f"Classes of the asset {asked.asset}: cloud {list(asked.cloud)}, shadow {list(asked.shadow)}."
    if asked.model is None:
        return None
    files = draft / "image.draft.tif", draft / "mask.draft.tif"
    tally.cloudy, sentence = mask_clouds(*files, settled, tally.mean, asked, _ground_resolution(bands))
    return sentence


def _finish(
    candidate: Candidate,
    bands: Bands,
    tally: Tally,
    settled: tuple[Band, ...],
    sentences: tuple[str, str | None],
    draft: Path,
) -> Scene:
    with rasterio.open(draft / "image.draft.tif", "r+") as image:
        image.scales, image.offsets = [b.scale for b in settled], [b.offset for b in settled]
        image.units = [b.units for b in settled]
    predictor = "3" if np.issubdtype(np.dtype(bands.dtype), np.floating) else "2"
    _to_cog(draft / "image.draft.tif", draft / "image.tif", OVERVIEW_RESAMPLING="AVERAGE", PREDICTOR=predictor)
    _to_cog(draft / "mask.draft.tif", draft / "mask.tif", OVERVIEW_RESAMPLING="MODE")
    geometry, bbox = footprint(bands.crs, bands.transform, bands.width, bands.height, public(candidate.source))
    code = bands.crs.to_epsg()
    nodata = bands.nodata
    return Scene(
        id=candidate.id,
        datetime=candidate.datetime,
        image=f"scenes/{candidate.id}/image.tif",
        mask=f"scenes/{candidate.id}/mask.tif",
        image_sha256=sha256(draft / "image.tif"),
        mask_sha256=sha256(draft / "mask.tif"),
        image_size=(draft / "image.tif").stat().st_size,
        bands=settled,
        dtype=bands.dtype,
        nodata="nan" if nodata is not None and np.isnan(nodata) else nodata,
        crs=f"EPSG:{code}" if code else bands.crs.to_wkt(),
        transform=tuple(bands.transform)[:6],
        width=bands.width,
        height=bands.height,
        resolution=_ground_resolution(bands),
        bbox=bbox,
        geometry=geometry,
        baseline=candidate.baseline,
        radiometry=sentences[0],
        clouds=sentences[1],
        nodata_share=1 - tally.valid / tally.pixels,
        cloud_share=tally.cloudy / tally.valid,
        source=public(candidate.source),
    )


def _to_cog(draft: Path, target: Path, **options: str) -> None:
    rasterio.shutil.copy(draft, target, **_COG, **options)
    draft.unlink()


def _ground_resolution(bands: Bands) -> float:
    """Metres between pixel centres at the middle of the scene, mean of both axes, on the WGS84 ellipsoid."""
    column, row = bands.width / 2, bands.height / 2
    points = [bands.transform @ p for p in ((column, row), (column + 1, row), (column, row + 1))]
    longitudes, latitudes = transform(bands.crs, "EPSG:4326", *zip(*points, strict=True))
    geod = Geod(ellps="WGS84")
    steps = [geod.inv(longitudes[0], latitudes[0], longitudes[i], latitudes[i])[2] for i in (1, 2)]
    return round(float(sum(steps)) / 2, 4)


def _statistics(scene: Scene, tally: Tally) -> dict[str, dict[str, float]]:
    """Per band, in physical units, over the pixels that have data."""
    scale = np.array([b.scale for b in scene.bands])
    offset = np.array([b.offset for b in scene.bands])

    def physical(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values * scale + offset)

    columns = {
        "minimum": physical(tally.minimum),
        "maximum": physical(tally.maximum),
        "mean": physical(tally.mean),
        "std": tally.std * np.abs(scale),
        "p01": physical(tally.percentile(1)),
        "p99": physical(tally.percentile(99)),
    }
    return {b.name: {k: float(v[i]) for k, v in columns.items()} for i, b in enumerate(scene.bands)}


def _described(scene: Scene, band: Band, statistics: dict[str, float]) -> dict[str, Any]:
    """The band as STAC's raster extension has it; its statistics are in physical units there too."""
    names = {"minimum": "minimum", "maximum": "maximum", "mean": "mean", "std": "stddev"}
    described = {"name": band.name, "unit": band.units, "scale": band.scale, "offset": band.offset}
    described |= {"data_type": scene.dtype, "spatial_resolution": scene.resolution}
    described |= {"statistics": {names[k]: v for k, v in statistics.items() if k in names}}
    return described if scene.nodata is None else described | {"nodata": scene.nodata}
