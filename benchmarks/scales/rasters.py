"""A raster that grows in height, ingested, mapped by a tiny network and cut into chips; and one for several workers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import yaml
from torch import nn

from benchmarks.peers.bundle import make_bundle
from benchmarks.predict import BANDS, make_raster
from benchmarks.scales.measure import Cost, command
from benchmarks.scales.project import CLASSES, PROJECT
from benchmarks.scales.world import write_params
from pipelines.config.params import Model

WIDTH = 4096
_NAMED = Model(library="smp", name="FPN", encoder="tu-mobilenetv3_small_050")  # of the contract; the network is another
_PARCEL = 640.0  # metres
_SWATH = ("-m", "pipelines")


def costs(height: int) -> Iterator[tuple[str, Cost]]:
    """What it costs to ingest a GeoTIFF of ``height`` rows, to map it, to split its ground and to cut it into chips."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        (home / "source").mkdir()
        make_raster(home / "source" / "tall.tif", height, WIDTH)
        _write_labels(home)
        _write_params(home)
        image = home / "catalog" / PROJECT / "scenes" / "tall" / "image.tif"
        mapping = ("predict", str(_bundle(home)), str(image), "--out", str(home / "maps"))
        for arguments in (("ingest", "all"), mapping, ("snapshot",), ("split",), ("chip",)):
            yield arguments[0], command((*_SWATH, *arguments), home, {"SWATH_HOME": str(home)})


def shared(workers: int) -> Iterator[tuple[str, Cost]]:
    """What each of ``workers`` that map a raster at the same time takes, and the most memory that one takes."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        bundle = _bundle(home)
        make_raster(home / "raster.tif", 2048, WIDTH)

        def mapped(worker: int) -> Cost:
            own = home / str(worker)
            own.mkdir()
            return command((*_SWATH, "predict", str(bundle), str(home / "raster.tif"), "--out", "maps"), own)

        with ThreadPoolExecutor(workers) as pool:
            each = list(pool.map(mapped, range(workers)))
        yield "predict, each", Cost(sum(c.seconds for c in each) / workers, max(c.megabytes for c in each))


def _bundle(home: Path) -> Path:
    make_bundle(home / "bundle", _NAMED, BANDS, nn.Conv2d(len(BANDS), 6, 1))
    return home / "bundle"


def _write_labels(home: Path) -> None:
    with rasterio.open(home / "source" / "tall.tif") as image:
        ground, crs = image.bounds, image.crs
    x, y = np.meshgrid(np.arange(ground.left, ground.right, _PARCEL), np.arange(ground.bottom, ground.top, _PARCEL))
    squares = shapely.box(x.ravel(), y.ravel(), x.ravel() + _PARCEL, y.ravel() + _PARCEL)
    names = np.array(CLASSES)[np.random.default_rng(0).integers(0, len(CLASSES), squares.size)]
    (home / "labels").mkdir()
    gpd.GeoDataFrame({"class": names}, geometry=squares, crs=crs).to_file(home / "labels" / "parcels.gpkg")


def _write_params(home: Path) -> None:
    write_params(home, str(home / "source"))
    values = yaml.safe_load((home / "params.yaml").read_text())
    values["scenes"] |= {"assets": [], "bands": list(BANDS)}
    values["split"]["block"] = 10_240
    values["chips"] |= {"size": 256, "stride": 256, "shard": 512}
    (home / "params.yaml").write_text(yaml.safe_dump(values))
