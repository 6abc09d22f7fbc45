"""Is the sample region harder than a look-up of spectra? A per-pixel random forest against a small U-Net.

Both learn from the western part of each labelled place, on all its dates, and are scored on the eastern part, a gap of
more than a chip's diagonal away. After ``swath sample --out DIR``: ``python benchmarks/sample_difficulty.py DIR``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pystac
import rasterio
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from rasterio.features import rasterize
from sklearn.ensemble import RandomForestClassifier

from pipelines.sample.ground import Cover
from pipelines.sample.spectra import BANDS

CHIP, GAP, IGNORED = 64, 96, 255
CLASSES = [cover.label for cover in Cover]


def read_region(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Reflectance ``(scenes, bands, h, w)`` and class indices ``(scenes, h, w)``, 255 where clouded or without data."""
    table = gpd.read_file(folder / "labels.gpkg")
    images, truths = [], []
    for item in pystac.Catalog.from_file(folder / "catalog.json").get_items():
        if not item.properties["sample:labelled"] or item.properties["sample:drift"]:
            continue
        bands = []
        for name in BANDS:
            asset = item.assets[name]
            with rasterio.open(asset.get_absolute_href()) as source:
                numbers, grid = source.read(1), source.profile
            bands.append(numbers * np.float32(1e-4) + np.float32(asset.extra_fields["raster:bands"][0]["offset"]))
        with rasterio.open(item.assets["SCL"].get_absolute_href()) as source:
            scl = source.read(1)
        ground = table[table.place == item.properties["grid:code"].removeprefix("MGRS-")].to_crs(grid["crs"])
        shapes = zip(ground.geometry, ground["class"].map(CLASSES.index), strict=True)
        truth = rasterize(shapes, scl.shape, fill=IGNORED, transform=grid["transform"], dtype="uint8")
        truth[np.isin(scl, (0, 3, 8, 9))] = IGNORED
        images.append(np.stack(bands))
        truths.append(truth)
    return np.stack(images), np.stack(truths)


def mean_iou(truth: NDArray[np.uint8], guess: NDArray[np.uint8]) -> tuple[float, dict[str, float]]:
    used = truth != IGNORED
    table = np.bincount(truth[used].astype(int) * len(CLASSES) + guess[used], minlength=len(CLASSES) ** 2)
    confusion = table.reshape(len(CLASSES), -1)
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    return float(iou.mean()), {name: round(float(v), 3) for name, v in zip(CLASSES, iou, strict=True)}


def forest(train: tuple, test: tuple, pixels: int = 60_000) -> NDArray[np.uint8]:
    """Train a random forest on single pixels of all scenes; return its guess for the test images."""
    values, truth = np.moveaxis(train[0], 1, -1)[train[1] != IGNORED], train[1][train[1] != IGNORED]
    chosen = np.random.default_rng(0).choice(len(truth), min(pixels, len(truth)), replace=False)
    model = RandomForestClassifier(100, min_samples_leaf=4, random_state=0, n_jobs=-1).fit(
        values[chosen], truth[chosen]
    )
    guess = model.predict(np.moveaxis(test[0], 1, -1).reshape(-1, len(BANDS)))
    return guess.astype(np.uint8).reshape(test[1].shape)


def unet(train: tuple, test: tuple, epochs: int, device: str) -> NDArray[np.uint8]:
    """Train a U-Net from scratch on random chips; return its guess for the test images, chip by chip."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    used = np.moveaxis(train[0], 1, -1)[train[1] != IGNORED]
    mean, std = used.mean(0)[:, None, None], used.std(0)[:, None, None]
    images, unseen = (_standard(*part, mean, std) for part in (train, test))
    truths = train[1]
    model = smp.Unet("resnet18", encoder_weights=None, in_channels=len(BANDS), classes=len(CLASSES)).to(device)
    scenes, _, height, width = images.shape
    steps = scenes * height * width // CHIP**2 // 16
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        for _ in range(steps):
            x, y = zip(*(_random_chip(images, truths, rng) for _ in range(16)), strict=True)
            logits = model(torch.from_numpy(np.stack(x)).to(device))
            target = torch.from_numpy(np.stack(y)).long().to(device)
            loss = torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}", file=sys.stderr, flush=True)
    model.eval()
    guess = np.zeros(test[1].shape, np.uint8)
    with torch.inference_mode():
        for scene, row, column in np.ndindex(len(guess), guess.shape[1] // CHIP, guess.shape[2] // CHIP):
            chip = (slice(row * CHIP, row * CHIP + CHIP), slice(column * CHIP, column * CHIP + CHIP))
            pixels = torch.from_numpy(unseen[scene : scene + 1, :, *chip]).to(device)
            guess[scene, *chip] = model(pixels)[0].argmax(0).cpu().numpy()
    return guess


def _standard(images: NDArray, truths: NDArray, mean: NDArray, std: NDArray) -> NDArray:
    """Bands of mean 0 and deviation 1; clouds and nodata at the mean, as everywhere in Swath."""
    return np.where((truths != IGNORED)[:, None], (images - mean) / std, 0).astype(np.float32)


def _random_chip(images: NDArray, truths: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    scene = rng.integers(len(images))
    row, column = (rng.integers(n - CHIP + 1) for n in truths.shape[1:])
    x, y = (a[scene, ..., row : row + CHIP, column : column + CHIP] for a in (images, truths))
    turns = rng.integers(4)
    x, y = np.rot90(x, turns, (1, 2)), np.rot90(y, turns)
    return (x[:, :, ::-1].copy(), y[:, ::-1].copy()) if rng.random() < 0.5 else (x.copy(), y.copy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--forest-only", action="store_true")
    asked = parser.parse_args()
    images, truths = read_region(asked.folder)
    border = int(truths.shape[2] * 0.53)
    border -= border % CHIP
    train = images[..., : border - GAP], truths[..., : border - GAP]
    test = images[..., border:], truths[..., border:]
    found = {}
    for name, fit in (
        ("forest", lambda: forest(train, test)),
        ("unet", lambda: unet(train, test, asked.epochs, asked.device)),
    ):
        if name == "unet" and asked.forest_only:
            continue
        start = time.monotonic()
        score, classes = mean_iou(test[1], fit())
        found[name] = {"miou": round(score, 4), "iou": classes, "seconds": round(time.monotonic() - start, 1)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
