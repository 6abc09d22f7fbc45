"""An index of many chips and what is done with it: reading, sampling, checking, certifying.

Blocks of 8 x 8 chips, of one split each, a chip's diagonal apart, so that every block has neighbours at the least
distance. The shards' files have the right size and hold nothing but zeros, which the disk does not store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from benchmarks.scales.measure import Cost, command
from benchmarks.scales.project import BANDS, CLASSES
from benchmarks.scales.world import write_params
from pipelines.dataset.certificate import Certificate
from pipelines.dataset.shards import HEADER, INDEX, ChipHeader, shard_file
from pipelines.dataset.statistics import BandStatistics, Statistics
from pipelines.files import write_json

SIZE = 32  # pixels
SIDE = 320 / 111_320  # degrees of latitude, or of longitude on the equator
GAP = 1.5 * SIDE
_BLOCK = 8  # chips a side
_SHARD = 2048
_PER_SCENE = 1764  # chips of 256 pixels that a scene of 10,980 x 10,980 holds

_STEP = ("-m", "benchmarks.scales.steps")
COMMANDS: dict[str, tuple[str, ...]] = {
    "open": (*_STEP, "open"),
    "draw an epoch": (*_STEP, "epoch"),
    "read 100 batches": (*_STEP, "batches"),
    "validate": ("-m", "pipelines", "validate"),
    "certificate": (*_STEP, "certify"),
}


def costs(count: int) -> Iterator[tuple[str, Cost]]:
    """What each of ``COMMANDS`` costs with ``count`` chips."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        write_params(home, "none")
        _write(home / "data", count)
        for name, arguments in COMMANDS.items():
            after = (str(home),) if arguments[1] == _STEP[1] else ()
            yield name, command((*arguments, *after), home, {"SWATH_HOME": str(home)})


def _write(data: Path, count: int) -> None:
    folder = data / "chips"
    folder.mkdir(parents=True)
    index = _index(count)
    index.to_parquet(folder / INDEX)
    units = ("reflectance",) * len(BANDS)
    header = ChipHeader(bands=BANDS, units=units, classes=CLASSES, size=SIZE, dtype="uint16")
    write_json(folder / HEADER, header.model_dump(mode="json"))
    for shard, start in enumerate(range(0, count, _SHARD)):
        chips = min(_SHARD, count - start)
        for part, lead, dtype in (("images", (len(BANDS),), "uint16"), ("labels", (), "uint8"), ("masks", (), "uint8")):
            file = folder / shard_file(shard, part)
            np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(dtype), shape=(chips, *lead, SIZE, SIZE))
    spread = {"mean": 0.2, "std": 0.1, "minimum": 0.0, "maximum": 1.0, "p01": 0.0, "p99": 0.6}
    bands = tuple(BandStatistics(name=name, units="reflectance", **spread) for name in BANDS)
    statistics = Statistics(bands=bands, class_pixels={}, chips=count)
    write_json(data / "statistics.json", statistics.model_dump(mode="json"))
    certificate = Certificate(
        clean=True,
        overlap_m2=0.0,
        smallest_distance_m=500.0,
        buffer_m=452.0,
        diagonal_m=452.0,
        class_balance={},
        blocks={},
        chips={},
        findings=(),
    )
    write_json(data / "certificate.json", certificate.model_dump(mode="json"))


def _index(count: int) -> gpd.GeoDataFrame:
    number = np.arange(count)
    block, inside = np.divmod(number, _BLOCK**2)
    across = int(np.ceil(np.sqrt(block[-1] + 1)))
    pitch = _BLOCK * SIDE + GAP
    west = (block % across - across / 2) * pitch + inside % _BLOCK * SIDE
    south = (block // across - across / 2) * pitch + inside // _BLOCK * SIDE
    splits = np.random.default_rng(0).choice(["train", "val", "test"], block[-1] + 1, p=[0.6, 0.2, 0.2])
    splits[:3] = ["train", "val", "test"]
    scene, place = np.divmod(number, _PER_SCENE)
    frame: dict[str, object] = {
        "chip_id": [f"scene-{s:06d}_{p:05d}" for s, p in zip(scene, place, strict=True)],
        "scene_id": [f"scene-{s:06d}" for s in scene],
        "split": splits[block],
        "block_id": [f"region_{b:06d}" for b in block],
        "region": "region",
        "row": place,
        "col": place,
        "size": SIZE,
        "shard": number // _SHARD,
        "position": number % _SHARD,
        "valid": 1.0,
        "content": [f"{n:032x}" for n in number],
        "datetime": pd.Timestamp("2024-07-01", tz="UTC"),
        "season": "summer",
        "zone": "31N",
    }
    frame |= {f"pixels_{name}": SIZE**2 // len(CLASSES) for name in CLASSES}
    for band in BANDS:
        frame |= {f"mean_{band}": 0.2, f"scale_{band}": 1e-4, f"offset_{band}": 0.0}
    squares = shapely.box(west, south, west + SIDE, south + SIDE)
    return gpd.GeoDataFrame(frame, geometry=squares, crs="EPSG:4326")
