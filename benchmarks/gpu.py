"""How busy a GPU is kept: maps against the bare network, and training against batches that are there already.

    python -m benchmarks.gpu [--side 8192] [--windows 256,512] [--chips 2000] [--threads 0,4]

A scene of 4 bands of uint16 (COG, 512 px tiles, DEFLATE) becomes a map with its profile by a U-Net with ResNet-18 on
the GPU, in full precision and in bfloat16. `passes` is the bare network over the windows that this needs, their pixels
on the GPU already; its share of the whole is how busy the GPU was kept with what it is there for. The plain loops over
rasterio and TorchGeo have the network on the same GPU, and no overlap.

Training is that of `swath train`, for two epochs of which the second counts, with batches made by as many threads;
`waiting` is the share of the time in which the training asked for a batch and had none. Without a GPU nothing is
measured. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import lightning as L
import torch

from benchmarks.inference import PEERS, Maps
from benchmarks.loading import BATCH, make_store
from benchmarks.peers import BANDS, SCENE
from benchmarks.peers.mapping import BUNDLE
from benchmarks.peers.mapping.work import make_work
from benchmarks.peers.race import race
from pipelines.bundle.store import Bundle, open_bundle
from pipelines.config import load_params
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_scene
from pipelines.inference.runtime import Runtime
from pipelines.inference.windows import axes
from pipelines.monitoring.profile import SceneProfile
from pipelines.scenes.scene import Scene
from pipelines.training.batches import Batch, BatchOrder, Loader, train_loader
from pipelines.training.checkpoint import Normalized
from pipelines.training.losses import CombinedLoss
from pipelines.training.network import build
from pipelines.training.task import TrainingTask
from pipelines.training.train import precision


def passes(bundle: Bundle, runtime: Runtime, side: int, window: int) -> float:
    """Seconds of the bare network over all windows, as many at a time as prediction takes."""
    tiling = Tiling.of(bundle.contract, runtime, 8 * 10**9, window)
    down, across = axes(side, side, window, tiling.overlap, "segmentation")
    sizes = [min(tiling.batch, len(across.starts) - at) for at in range(0, len(across.starts), tiling.batch)]
    pixels = torch.rand((max(sizes), len(BANDS), down.window, across.window), device="cuda")
    for size in sizes:
        runtime(pixels[:size])
    torch.cuda.synchronize()
    began = time.perf_counter()
    for size in sizes * len(down.starts):
        runtime(pixels[:size])
    torch.cuda.synchronize()
    return time.perf_counter() - began


def mapping(folder: Path, bundle: Bundle, runtime: Runtime, window: int, target: Path) -> float:
    """Seconds of a map of the scene in ``folder`` with its profile."""
    scene = Scene.model_validate_json((folder / SCENE).read_text())
    classes = [c.name for c in bundle.contract.classes]
    shape = scene.height, scene.width
    recorder = SceneProfile(bundle.contract.band_names, classes, load_params().drift.sample, shape, scene)
    tiling = Tiling.of(bundle.contract, runtime, 8 * 10**9, window)
    began = time.perf_counter()
    raster = of_scene(scene, folder / "catalog", bundle.contract)
    predict(raster, bundle, runtime, target, tiling, recorder=recorder)
    return time.perf_counter() - began


def opened(folder: Path, bf16: bool) -> Bundle:
    bundle = open_bundle(str(folder / BUNDLE))
    return dataclasses.replace(bundle, contract=bundle.contract.model_copy(update={"bf16": bf16}))


def maps(folder: Path, side: int, windows: list[int]) -> dict[str, Any]:
    make_work(folder, side)
    megapixels, same = side * side / 1e6, Maps()
    loops = race(PEERS[:2], folder, 2, install=False, look=same)
    found: dict[str, Any] = {
        name: {"megapixels a second": round(megapixels / loops.best(name).seconds, 1)} for name in loops.runs
    }
    print(found, loops.missing, flush=True)
    for window, bf16 in product(windows, (False, True)):
        bundle = opened(folder, bf16)
        runtime = Runtime(bundle)
        name = f"{runtime.engine}, {window} px"
        bare = passes(bundle, runtime, side, window)
        torch.cuda.reset_peak_memory_stats()
        seconds = min(mapping(folder, bundle, runtime, window, folder / name / str(i)) for i in range(2))
        made = folder / name / "0"
        (made / "classes.tif").rename(made / "map.tif")
        same(name, made)
        found[name] = {
            "megapixels a second": round(megapixels / seconds, 1),
            "seconds": round(seconds, 2),
            "passes": round(bare, 2),
            "busy": round(bare / seconds, 3),
            "same pixels": round(same.same[name], 4),
            "gpu megabytes": round(torch.cuda.max_memory_allocated() / 1e6),
        }
        print(name, found[name], flush=True)
    return found


class Timed(Loader[Batch]):
    """A loader that counts the seconds in which it was asked for a batch and had none."""

    def __init__(self, loader: Loader[Batch], threads: int) -> None:
        assert isinstance(loader.sampler, BatchOrder)
        super().__init__(loader.dataset, loader.sampler)
        self.threads, self.waiting = threads, 0.0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        stream = super().__iter__()
        while True:
            began = time.perf_counter()
            batch = next(stream, None)
            self.waiting += time.perf_counter() - began
            if batch is None:
                return
            yield batch


class Epochs(L.Callback):
    """Seconds of each epoch, and those of waiting among them."""

    def __init__(self, batches: Timed) -> None:
        self.batches = batches
        self.took: list[tuple[float, float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        torch.cuda.synchronize()
        self.batches.waiting, self.began = 0.0, time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        torch.cuda.synchronize()
        self.took.append((time.perf_counter() - self.began, self.batches.waiting))


def training(folder: Path, chips: int, numbers: list[int]) -> dict[str, Any]:
    store, statistics = make_store(folder, chips)
    train = load_params().train.model_copy(update={"batch": BATCH, "epochs": 2})
    found = {}
    for threads in numbers:
        torch.manual_seed(0)
        network = Normalized(build(train.model, len(BANDS), 2), statistics).to(memory_format=torch.channels_last)
        batches = Timed(train_loader(store, statistics, BATCH, train.augment, 0), threads)
        epochs = Epochs(batches)
        trainer = L.Trainer(
            accelerator="gpu",
            devices=1,
            precision=precision(train.precision, True),
            deterministic="warn",
            max_epochs=train.epochs,
            callbacks=[epochs],
            use_distributed_sampler=False,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(TrainingTask(network, CombinedLoss(train.loss), train, ("a", "b")), batches)
        seconds, waiting = epochs.took[-1]
        found[f"{threads} threads"] = {
            "samples a second": round(chips / seconds),
            "waiting": round(waiting / seconds, 3),
        }
        print(found, flush=True)
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--side", type=int, default=8192, help="pixels of the square scene")
    asked.add_argument("--windows", default="256,512", help="pixels; the overlap is that of params.yaml")
    asked.add_argument("--chips", type=int, default=2_000)
    asked.add_argument("--threads", default="0,4", help="that make batches; 0: the training's own")
    given = asked.parse_args()
    if not torch.cuda.is_available():
        print("Nothing is measured: this machine has no GPU.")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        windows, threads = ([int(word) for word in words.split(",")] for words in (given.windows, given.threads))
        found: dict[str, Any] = {"device": torch.cuda.get_device_name()}
        found["maps"] = maps(folder / "maps", given.side, windows)
        found["training"] = training(folder / "chips", given.chips, threads)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
