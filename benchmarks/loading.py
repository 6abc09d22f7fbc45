"""Training samples a second: ours against the memory's own speed, single files, raster windows and TorchGeo.

    python -m benchmarks.loading [--chips 2000] [--side 6144] [--seconds 8]

Random chips of 4 bands, 256 px, uint16, in batches of 32, to float32 tensors in physical units with masked pixels
filled, and labels as int64. Every way but the memory's reads image, labels and mask; a corner of every fourth chip is
masked. Ours reads memory-mapped shards in the training process; `augmented` adds flips, quarter turns and brightness,
`all` also color, contrast and haze; `crops` are windows of 256 px of chips of 512, augmented; `scenes` reads images
from a COG (chips.pixels: scenes), augmented, and `decoding` has a cache of 64 MB, which holds little of it. All files
are in the page cache. The ways run in turn, twice, and the faster counts. Prints one JSON object: samples a second, and
ratios of ours, with and without augmentation, to each way.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
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

from benchmarks.peers.chipping.ours import cut
from benchmarks.peers.scene import make_scene
from pipelines.dataset.shards import HEADER, INDEX, ChipHeader, ChipStore, shard_file
from pipelines.dataset.statistics import BandStatistics, Statistics, fill_masked
from pipelines.files import write_json
from pipelines.scenes.scene import MaskBit
from pipelines.training.batches import Batch, train_loader

SIZE, BATCH, BANDS = 256, 32, ("B02", "B03", "B04", "B08")
PARTS = ("image", "label", "mask")
SCALE, MEANS = np.float32(1e-4), np.full(len(BANDS), 0.2, np.float32)
AUGMENTATION = ("flip", "rotate90", "brightness")


def make_store(folder: Path, chips: int, size: int = SIZE) -> tuple[ChipStore, Statistics]:
    """A folder of chips as the chip stage leaves it, and statistics of its bands."""
    folder.mkdir()
    random = np.random.default_rng(0)
    images = np.lib.format.open_memmap(
        folder / shard_file(0, "images"), mode="w+", dtype=np.uint16, shape=(chips, len(BANDS), size, size)
    )
    for image in images:
        image[:] = random.integers(0, 4000, image.shape, dtype=np.uint16)
    images.flush()
    np.save(folder / shard_file(0, "labels"), np.zeros((chips, size, size), np.uint8))
    masks = np.zeros((chips, size, size), np.uint8)
    masks[::4, :64, :64] = MaskBit.CLOUD
    np.save(folder / shard_file(0, "masks"), masks)
    header = ChipHeader(bands=BANDS, units=("reflectance",) * 4, classes=("a", "b"), size=size, dtype="uint16")
    write_json(folder / HEADER, header.model_dump(mode="json"))
    columns: dict[str, Any] = {"chip_id": [str(i) for i in range(chips)], "split": "train", "shard": 0}
    columns |= {"position": range(chips)}
    for name in BANDS:
        columns |= {f"scale_{name}": float(SCALE), f"offset_{name}": 0.0}
    gpd.GeoDataFrame(columns, geometry=[box(0, 0, 1, 1)] * chips, crs="EPSG:4326").to_parquet(folder / INDEX)
    spread = {"mean": float(MEANS[0]), "std": 0.1, "minimum": 0.0, "maximum": 1.0, "p01": 0.0, "p99": 0.6}
    bands = tuple(BandStatistics(name=name, units="reflectance", **spread) for name in BANDS)
    return ChipStore(folder), Statistics(bands=bands, class_pixels={"a": 1, "b": 1}, chips=chips)


def make_scene_store(folder: Path, side: int) -> ChipStore:
    """Chips of one scene whose images stay in its COG."""
    folder.mkdir()
    make_scene(folder, side)
    (folder / "catalogs").mkdir()
    (folder / "catalogs" / "benchmark").symlink_to(folder / "catalog")
    os.environ["SWATH_CATALOG"] = str(folder / "catalogs")
    cut(folder, folder / "chips", pixels="scenes")
    return ChipStore(folder / "chips")


def decoding(batches: DataLoader[Batch]) -> Iterator[Batch]:
    """With hardly a decoded block kept, as of scenes that are larger together than GDAL's cache."""
    with rasterio.Env(GDAL_CACHEMAX=64 * 2**20):
        yield from batches


def make_files(folder: Path, store: ChipStore) -> list[Path]:
    """A folder for each chip, with a npy file for image, labels and mask."""
    for row in range(len(store)):
        (folder / str(row)).mkdir(parents=True)
        for name, array in zip(PARTS, store.gather(np.array([row])), strict=True):
            np.save(folder / str(row) / f"{name}.npy", array[0])
    return sorted(folder.iterdir())


def make_rasters(folder: Path, side: int) -> None:
    """``image.tif``, ``label.tif`` and ``mask.tif`` on one grid."""
    folder.mkdir()
    grid = {"width": side, "height": side, "crs": "EPSG:32633", "driver": "GTiff"}
    grid |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    grid |= {"transform": rasterio.Affine(10, 0, 4e5, 0, -10, 5e6)}
    random = np.random.default_rng(0)
    with rasterio.open(folder / "image.tif", "w", count=len(BANDS), dtype="uint16", predictor=2, **grid) as out:
        for top in range(0, side, 512):
            coarse = random.integers(400, 4000, (len(BANDS), 8, side // 64), dtype=np.uint16)
            noise = random.integers(0, 200, (len(BANDS), 512, side), dtype=np.uint16)
            out.write(coarse.repeat(64, 1).repeat(64, 2) + noise, window=Window(0, top, side, 512))
    mask = np.zeros((side, side), np.uint8)
    mask.reshape(side // 64, 64, side // 64, 64)[::8, :, ::8] = MaskBit.CLOUD
    for name, plane in (("label", np.zeros_like(mask)), ("mask", mask)):
        with rasterio.open(folder / f"{name}.tif", "w", count=1, dtype="uint8", **grid) as out:
            out.write(plane, 1)


def sample(image: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """One chip as ours delivers it; the straightforward way, which spends nothing on masks of clear chips either."""
    values = fill_masked(image.astype(np.float32) * SCALE, mask, MEANS)
    return torch.from_numpy(values), torch.from_numpy(labels.astype(np.int64))


class Files(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Three npy files a chip."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return sample(*(np.load(self.folders[number] / f"{name}.npy") for name in PARTS))


class Windows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Random windows of three rasters."""

    def __init__(self, folder: Path, count: int) -> None:
        self.sources = [rasterio.open(folder / f"{name}.tif") for name in PARTS]
        random = np.random.default_rng(0)
        self.places = random.integers(0, self.sources[0].width - SIZE, (count, 2))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        row, column = map(int, self.places[number])
        image, labels, mask = (s.read(window=Window(column, row, SIZE, SIZE)) for s in self.sources)
        return sample(image, labels[0], mask[0])


def torchgeo(folder: Path, count: int) -> DataLoader:
    """TorchGeo's random sampler over an image, a label and a mask dataset."""
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import RandomGeoSampler

    class Labels(RasterDataset):
        is_image = False

    class Masks(RasterDataset):
        is_image = True

        def __getitem__(self, query: Any) -> dict[str, Any]:
            found = super().__getitem__(query)
            return {"bits": found.pop("image")} | found

    def prepare(samples: list[dict[str, Any]]) -> list[torch.Tensor]:
        batch = stack_samples(samples)
        images, bits = batch["image"] * float(SCALE), batch["bits"].numpy()[:, 0].astype(np.uint8)
        return [torch.from_numpy(fill_masked(images.numpy(), bits, MEANS)), batch["mask"].long()]

    image, labels, masks = (
        of([str(folder / f"{name}.tif")]) for of, name in zip((RasterDataset, Labels, Masks), PARTS, strict=True)
    )
    return DataLoader(
        image & labels & masks, batch_size=BATCH, sampler=RandomGeoSampler(image, SIZE, count), collate_fn=prepare
    )


def copies(store: ChipStore) -> Iterator[torch.Tensor]:
    """The integers of a batch of images copied in memory: nothing can be faster."""
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
        large, _ = make_store(folder / "large", given.chips // 4, 2 * SIZE)
        scenes = make_scene_store(folder / "scenes", given.side)
        files = make_files(folder / "files", store)
        make_rasters(folder / "rasters", given.side)
        windows = Windows(folder / "rasters", given.chips)
        everything = (*AUGMENTATION, "color", "contrast", "haze")
        ways: dict[str, Callable[[], Any]] = {
            "memory copy": lambda: copies(store),
            "ours": lambda: train_loader(store, statistics, BATCH, (), 0),
            "ours, augmented": lambda: train_loader(store, statistics, BATCH, AUGMENTATION, 0),
            "ours, all": lambda: train_loader(store, statistics, BATCH, everything, 0),
            "ours, crops": lambda: train_loader(large, statistics, BATCH, AUGMENTATION, 0, crop=SIZE),
            "ours, scenes": lambda: train_loader(scenes, statistics, BATCH, AUGMENTATION, 0),
            "ours, scenes, decoding": lambda: decoding(train_loader(scenes, statistics, BATCH, AUGMENTATION, 0)),
            "npy files": lambda: DataLoader(Files(files), batch_size=BATCH, shuffle=True),
            "raster windows": lambda: DataLoader(windows, batch_size=BATCH),
            "torchgeo": lambda: torchgeo(folder / "rasters", given.chips),
        }
        rounds = [{name: rate(way, given.seconds) for name, way in ways.items()} for _ in range(2)]
    best = {name: max(one[name] for one in rounds) for name in ways}
    print(
        json.dumps(
            {
                "samples a second": {name: round(value) for name, value in best.items()},
                "ours, times": {name: round(best["ours"] / value, 2) for name, value in best.items()},
                "ours, augmented, times": {
                    name: round(best["ours, augmented"] / value, 2) for name, value in best.items()
                },
            }
        )
    )


if __name__ == "__main__":
    main()
