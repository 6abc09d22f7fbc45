"""Training samples a second: ours against the memory's own speed, single files, raster windows and TorchGeo.

    python -m benchmarks.loading [--chips 2000] [--side 6144] [--seconds 8]

Random chips of 4 bands, 256 px, uint16, in batches of 32, to float32 tensors in physical units. Ours reads them from
memory-mapped shards in the training process; `augmented` adds flips, quarter turns and brightness. All files are in the
page cache. The ways run in turn, twice, and the faster counts. Prints one JSON object: samples a second, and ratios to
TorchGeo.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from shapely.geometry import box
from torch.utils.data import DataLoader, Dataset

from pipelines.dataset.shards import HEADER, INDEX, ChipHeader, ChipStore, shard_file
from pipelines.dataset.statistics import BandStatistics, Statistics
from pipelines.files import write_json
from pipelines.training.batches import train_loader

SIZE, BATCH, BANDS = 256, 32, ("B02", "B03", "B04", "B08")
SCALE = np.float32(1e-4)


def make_store(folder: Path, chips: int) -> tuple[ChipStore, Statistics]:
    """A folder of chips as the chip stage leaves it, and statistics of its bands."""
    folder.mkdir()
    random = np.random.default_rng(0)
    images = np.lib.format.open_memmap(
        folder / shard_file(0, "images"), mode="w+", dtype=np.uint16, shape=(chips, len(BANDS), SIZE, SIZE)
    )
    for image in images:
        image[:] = random.integers(0, 4000, image.shape, dtype=np.uint16)
    images.flush()
    np.save(folder / shard_file(0, "labels"), np.zeros((chips, SIZE, SIZE), np.uint8))
    np.save(folder / shard_file(0, "masks"), np.zeros((chips, SIZE, SIZE), np.uint8))
    header = ChipHeader(bands=BANDS, units=("reflectance",) * 4, classes=("a", "b"), size=SIZE, dtype="uint16")
    write_json(folder / HEADER, header.model_dump(mode="json"))
    columns: dict[str, Any] = {"chip_id": [str(i) for i in range(chips)], "split": "train", "shard": 0}
    columns |= {"position": range(chips)}
    for name in BANDS:
        columns |= {f"scale_{name}": float(SCALE), f"offset_{name}": 0.0}
    gpd.GeoDataFrame(columns, geometry=[box(0, 0, 1, 1)] * chips, crs="EPSG:4326").to_parquet(folder / INDEX)
    spread = {"mean": 0.2, "std": 0.1, "minimum": 0.0, "maximum": 1.0, "p01": 0.0, "p99": 0.6}
    bands = tuple(BandStatistics(name=name, units="reflectance", **spread) for name in BANDS)
    return ChipStore(folder), Statistics(bands=bands, class_pixels={"a": 1, "b": 1}, chips=chips)


def make_files(folder: Path, store: ChipStore) -> list[Path]:
    folder.mkdir()
    for row in range(len(store)):
        np.save(folder / f"{row}.npy", store.gather(np.array([row]))[0][0])
    return sorted(folder.iterdir())


def make_raster(path: Path, side: int) -> None:
    grid = {"width": side, "height": side, "count": len(BANDS), "dtype": "uint16", "crs": "EPSG:32633"}
    grid |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2}
    random = np.random.default_rng(0)
    with rasterio.open(path, "w", driver="GTiff", transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5e6), **grid) as out:
        for top in range(0, side, 512):
            coarse = random.integers(400, 4000, (len(BANDS), 8, side // 64), dtype=np.uint16)
            noise = random.integers(0, 200, (len(BANDS), 512, side), dtype=np.uint16)
            out.write(coarse.repeat(64, 1).repeat(64, 2) + noise, window=Window(0, top, side, 512))


class Files(Dataset[torch.Tensor]):
    """One npy file a chip."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self.files[number]).astype(np.float32) * SCALE)


class Windows(Dataset[torch.Tensor]):
    """Random windows of one raster."""

    def __init__(self, path: Path, count: int) -> None:
        self.source = rasterio.open(path)
        random = np.random.default_rng(0)
        self.places = random.integers(0, self.source.width - SIZE, (count, 2))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> torch.Tensor:
        row, column = map(int, self.places[number])
        return torch.from_numpy(self.source.read(window=Window(column, row, SIZE, SIZE)).astype(np.float32) * SCALE)


def torchgeo(path: Path, count: int) -> DataLoader:
    """TorchGeo's random sampler over one raster."""
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import RandomGeoSampler

    raster = RasterDataset([str(path)])
    return DataLoader(raster, batch_size=BATCH, sampler=RandomGeoSampler(raster, SIZE, count), collate_fn=stack_samples)


def copies(store: ChipStore) -> Iterator[torch.Tensor]:
    """A batch copied in memory: nothing can be faster."""
    batch = torch.from_numpy(store.gather(np.arange(BATCH))[0])
    while True:
        yield batch.clone()


def rate(batches: Callable[[], Any], seconds: float) -> float:
    """Samples a second, after a first batch."""
    stream = itertools.chain.from_iterable(batches() for _ in itertools.count())
    next(stream)
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        next(stream)
        count += BATCH
    return count / passed


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--chips", type=int, default=2_000)
    asked.add_argument("--side", type=int, default=6_144, help="pixels of the raster for windows and TorchGeo")
    asked.add_argument("--seconds", type=float, default=8, help="of each way in each of two rounds")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store, statistics = make_store(folder / "chips", given.chips)
        files = make_files(folder / "files", store)
        make_raster(folder / "raster.tif", given.side)
        windows = Windows(folder / "raster.tif", given.chips)
        augmentation = ("flip", "rotate90", "brightness")
        ways: dict[str, Callable[[], Any]] = {
            "memory copy": lambda: copies(store),
            "ours": lambda: train_loader(store, statistics, BATCH, (), 0),
            "ours, augmented": lambda: train_loader(store, statistics, BATCH, augmentation, 0),
            "npy files": lambda: DataLoader(Files(files), batch_size=BATCH, shuffle=True),
            "raster windows": lambda: DataLoader(windows, batch_size=BATCH),
            "torchgeo": lambda: torchgeo(folder / "raster.tif", given.chips),
        }
        rounds = [{name: rate(way, given.seconds) for name, way in ways.items()} for _ in range(2)]
    best = {name: max(one[name] for one in rounds) for name in ways}
    print(
        json.dumps(
            {
                "samples a second": {name: round(value) for name, value in best.items()},
                "times torchgeo": {name: round(value / best["torchgeo"], 1) for name, value in best.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
