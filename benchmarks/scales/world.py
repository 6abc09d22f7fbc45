"""A project with many small scenes: half of them one mosaic, half lonely places, all labelled and with real files.

The files are those that ingestion leaves, so that every later command runs as it does in production.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import yaml
from affine import Affine
from rasterio.warp import transform_bounds
from shapely.geometry import box, mapping

from benchmarks.scales.measure import ROOT
from benchmarks.scales.project import BANDS, CLASSES, PIXEL, PROJECT, SIDE
from pipelines.files import sha256, write_json
from pipelines.scenes import staging
from pipelines.scenes.candidate import Candidate
from pipelines.scenes.catalog import write_item
from pipelines.scenes.scene import Band, Scene

GROUND = SIDE * PIXEL
_MOSAIC, _LONELY = "EPSG:32721", "EPSG:32720"
_APART = 5_000.0  # metres between lonely places


def places(count: int) -> Iterator[tuple[str, str, float, float]]:
    """Id, CRS, west and north of each scene."""
    across = math.ceil(math.sqrt(count / 2))
    for number in range(count):
        row, column = divmod(number // 2, across)
        step, crs = (GROUND, _MOSAIC) if number % 2 else (_APART, _LONELY)
        middle = 500_000 - across * step / 2
        yield f"scene-{number:06d}", crs, middle + column * step, 9_000_000 - row * step


def when(number: int) -> datetime:
    return datetime(2024, 1, 1, 10, tzinfo=UTC) + timedelta(days=number % 360, seconds=number)


def write_params(root: Path, source: str) -> None:
    """``params.yaml`` in ``root``, from the repository's own, for scenes of this size."""
    value = yaml.safe_load((ROOT / "params.yaml").read_text())
    value["project"] = PROJECT
    value["scenes"] |= {"source": source, "assets": list(BANDS), "bands": list(BANDS), "max_cloud": 100}
    value["scenes"]["dates"] = ["2024-01-01", "2024-12-31"]  # of `when`; a STAC API is not asked for all that it has
    value["scenes"]["cloud_mask"]["asset"] = None
    value["scenes"]["radiometry"] = {"kind": "declared", "units": "reflectance", "scale": 0.0001, "offset": 0.0}
    classes = [{"name": n, "value": i + 1, "color": f"#{40 * i:02x}2233"} for i, n in enumerate(CLASSES)]
    value["labels"] |= {"source": str(root / "labels"), "classes": classes}
    value["split"] |= {"block": GROUND}
    value["chips"] |= {"size": 32, "stride": 32}
    (root / "params.yaml").write_text(yaml.safe_dump(value))


def write_items(root: Path, count: int) -> Path:
    """The items of a STAC API that offers ``count`` scenes, as one GeoJSON file."""
    features = []
    for number, (id, crs, west, north) in enumerate(places(count)):
        bounds = transform_bounds(crs, "EPSG:4326", west, north - GROUND, west + GROUND, north)
        assets = {b: {"href": f"https://scenes.example.com/{id}/{b}.tif", "type": "image/tiff"} for b in BANDS}
        features.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": id,
                "collection": "scale",
                "geometry": mapping(box(*bounds)),
                "bbox": list(bounds),
                "properties": {"datetime": when(number).isoformat(), "eo:cloud_cover": 1.0},
                "assets": assets,
                "links": [],
            }
        )
    target = root / "items.json"
    target.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return target


def write_labels(root: Path, count: int) -> None:
    """Four parcels a scene."""
    half = GROUND / 2
    by_crs: dict[str, list[tuple[str, shapely.Polygon]]] = {_MOSAIC: [], _LONELY: []}
    for number, (_, crs, west, north) in enumerate(places(count)):
        for part in range(4):
            x, y = west + part % 2 * half, north - part // 2 * half
            by_crs[crs].append((CLASSES[(number // 2 + part) % 3], shapely.box(x, y - half, x + half, y)))
    (root / "labels").mkdir()
    for crs, parcels in by_crs.items():
        names, shapes = zip(*parcels, strict=True)
        frame = gpd.GeoDataFrame({"class": list(names)}, geometry=list(shapes), crs=crs)
        frame.to_file(root / "labels" / f"{crs[5:]}.gpkg")


def stage(catalog: Path, run: str) -> None:
    """Leave what ``swath ingest fetch`` leaves for all shards of the plan of ``run``."""
    plan = staging.read_plan(catalog, run)
    folder = staging.folder(catalog, run)
    random = np.random.default_rng(0)
    for (id, crs, west, north), candidate in zip(places(len(plan.scenes)), plan.scenes, strict=True):
        assert id == candidate.id
        scene, described = _write_scene(folder / "scenes" / id, candidate, crs, (west, north), random)
        write_item(folder / "scenes" / id, scene, fingerprint=candidate.fingerprint, dated=True, bands=described)
        row = scene.model_dump(mode="json", exclude={"geometry"}) | {"fingerprint": candidate.fingerprint}
        spread = {"minimum": 0.01, "maximum": 0.3, "mean": 0.15, "std": 0.1, "p01": 0.02, "p99": 0.29}
        write_json(staging.rows_folder(folder) / f"{id}.json", row | {"statistics": dict.fromkeys(BANDS, spread)})


def _write_scene(
    folder: Path, candidate: Candidate, crs: str, corner: tuple[float, float], random: np.random.Generator
) -> tuple[Scene, list[dict[str, object]]]:
    folder.mkdir(parents=True)
    transform = Affine(PIXEL, 0, corner[0], 0, -PIXEL, corner[1])
    grid = {"crs": crs, "transform": transform, "width": SIDE, "height": SIDE, "driver": "GTiff"}
    pixels = random.integers(100, 3000, (len(BANDS), SIDE, SIDE)).astype(np.uint16)
    with rasterio.open(folder / "image.tif", "w", count=len(BANDS), dtype="uint16", nodata=0, **grid) as out:
        out.write(pixels)
        out.descriptions = BANDS
    with rasterio.open(folder / "mask.tif", "w", count=1, dtype="uint8", compress="deflate", **grid) as out:
        out.write(np.zeros((SIDE, SIDE), np.uint8), 1)
    bounds = transform_bounds(crs, "EPSG:4326", corner[0], corner[1] - GROUND, corner[0] + GROUND, corner[1])
    bands = tuple(Band(name=b, units="reflectance", scale=1e-4, offset=0.0) for b in BANDS)
    scene = Scene(
        id=candidate.id,
        datetime=candidate.datetime,
        image=f"scenes/{candidate.id}/image.tif",
        mask=f"scenes/{candidate.id}/mask.tif",
        image_sha256=sha256(folder / "image.tif"),
        mask_sha256=sha256(folder / "mask.tif"),
        image_size=(folder / "image.tif").stat().st_size,
        bands=bands,
        dtype="uint16",
        nodata=0,
        crs=crs,
        transform=tuple(transform)[:6],
        width=SIDE,
        height=SIDE,
        resolution=PIXEL,
        bbox=bounds,
        geometry=mapping(box(*bounds)),
        radiometry="as params.yaml declares",
        nodata_share=0.0,
        cloud_share=0.0,
        source=candidate.source,
    )
    return scene, [band.model_dump() for band in bands]


def serve(items: Path, address: str) -> subprocess.Popen[bytes]:
    """rustac's STAC API over ``items``; it answers once all are read."""
    program = str(Path(sys.executable).parent / "rustac")
    return subprocess.Popen(
        [program, "serve", "--addr", address, "--create-collections", str(items)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
