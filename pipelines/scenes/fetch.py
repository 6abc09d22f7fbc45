"""One scene from its source to a staged folder: COG of pixels, COG of mask bits, STAC item, row for the checks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
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
from pipelines.scenes.scene import Band, MaskBit, Scene
from pipelines.scenes.staging import rows_folder
from pipelines.scenes.tally import Tally

_DRAFT = {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "BIGTIFF": "IF_SAFER"}
_COG = {"driver": "COG", "BLOCKSIZE": "512", "COMPRESS": "DEFLATE", "BIGTIFF": "IF_SAFER", "NUM_THREADS": "1"}


def fetch(candidate: Candidate, scenes: Scenes, area: Bounds | None, staging: Path) -> Scene:
    """Bring ``candidate`` into ``staging/scenes/<id>``, whole or not at all, in memory bounded by a few windows.

    Pixels keep the values and the type that they have at the source. Those of earlier dates follow as further bands;
    a pixel without data in one date is so in the scene, and one under cloud too, unless ``stack.clouds`` are seen.
    Raises ``BadData`` if the scene is unusable, ``SwathError`` if its source cannot be reached.
    """
    folder = staging / "scenes" / safe_id(candidate.id)
    with gdal(), replacing(folder) as draft:
        draft.mkdir()
        with ExitStack() as opened:
            dates = [opened.enter_context(bands_of(date, scenes, area)) for date in candidate.dates]
            bands = _of_one_grid(candidate, dates)
            hidden = MaskBit.NODATA
            if scenes.stack and scenes.stack.clouds == "masked":
                hidden |= MaskBit.CLOUD | MaskBit.SHADOW
            tally = _copy(dates, scenes.image_bands, hidden, draft)
            if not tally.valid:
                raise BadData(
                    f"{candidate.source} has no data in any of its pixels (in the area asked for, nodata "
                    f"{bands.nodata}); check the area and params.scenes.nodata."
                )
            settled, sentence = _settled(candidate, scenes, dates, list(tally.percentile(DARK)))
            clouds = _clouds(candidate, scenes, bands, tally, settled, draft)
            scene = _finish(candidate, bands, tally, settled, (sentence, clouds), draft)
        statistics = _statistics(scene, tally)
        if not np.isfinite([list(band.values()) for band in statistics.values()]).all():
            raise BadData(
                f"{scene.source} has values that are too large to add up; announce its nodata value in "
                "params.scenes.nodata, or correct the pixels."
            )
        described = [_described(scene, band, statistics[band.name]) for band in scene.bands]
        earlier = [public(date.source) for date in candidate.earlier]
        write_item(
            draft, scene, fingerprint=candidate.fingerprint, dated=candidate.dated, bands=described, earlier=earlier
        )
        row = scene.model_dump(mode="json", exclude={"geometry"}) | {"statistics": statistics}
        write_json(rows_folder(staging) / f"{scene.id}.json", row | {"fingerprint": candidate.fingerprint})
    return scene


def _of_one_grid(candidate: Candidate, dates: Sequence[Bands]) -> Bands:
    """The bands of the scene itself. Raises ``BadData`` where those of an earlier date do not lie on them."""
    own = dates[0]
    for date, bands in zip(candidate.earlier, dates[1:], strict=True):
        for what, here, there in (
            ("CRS", str(own.crs), str(bands.crs)),
            ("transform", tuple(own.transform)[:6], tuple(bands.transform)[:6]),
            ("size", (own.width, own.height), (bands.width, bands.height)),
            ("pixel type", own.dtype, bands.dtype),
            ("nodata value", str(own.nodata), str(bands.nodata)),
        ):
            if here != there:
                raise BadData(
                    f"{candidate.id} cannot be stacked on {date.id}: its {what} is {here}, there {there}; "
                    "bring the dates of a place onto one grid, or leave out params.scenes.stack."
                )
    return own


def _settled(
    candidate: Candidate, scenes: Scenes, dates: Sequence[Bands], dark: list[float]
) -> tuple[tuple[Band, ...], str]:
    """What the pixels of each date mean; dates of two baselines may lie in one stack."""
    names, each = scenes.image_bands, len(scenes.bands)
    found: list[Band] = []
    sentences = []
    for number, (date, bands) in enumerate(zip(candidate.dates, dates, strict=True)):
        own = slice(number * each, (number + 1) * each)
        settled, sentence = settle(
            scenes.radiometry,
            names[own],
            dark[own],
            baseline=date.baseline,
            offset_applied=date.offset_applied,
            quantities=bands.quantities,
        )
        found += settled
        sentences.append(f"{date.id}: {sentence}" if candidate.earlier else sentence)
    return tuple(found), " ".join(sentences)


def _copy(dates: Sequence[Bands], names: tuple[str, ...], hidden: MaskBit, draft: Path) -> Tally:
    """Stream pixels and mask into plain GeoTIFFs beside the COGs to be; of earlier dates, the bits ``hidden`` count."""
    bands = dates[0]
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
            parts, masks = zip(*(date.read(window) for date in dates), strict=True)
            pixels = np.concatenate(parts) if len(parts) > 1 else parts[0]
            bits = np.bitwise_or.reduce([masks[0], *(mask & np.uint8(hidden) for mask in masks[1:])])
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
        where = " of any date" if scenes.stack and scenes.stack.clouds == "masked" else ""
        return f"Classes of the asset {asked.asset}{where}: cloud {list(asked.cloud)}, shadow {list(asked.shadow)}."
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
        corner=bands.corner,
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
