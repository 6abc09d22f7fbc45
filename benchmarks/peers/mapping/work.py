"""What the contenders of ``mapping`` find in their folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import nn

from benchmarks.peers import BANDS, IMAGE
from benchmarks.peers.bundle import make_bundle
from benchmarks.peers.mapping import BUNDLE, NETWORK
from benchmarks.peers.mapping.network import CLASSES, OfNumbers, unet
from benchmarks.peers.scene import make_scene
from pipelines.config.params import Model

_STEPS, _BATCH, _CROP = 60, 4, 128


def make_work(folder: Path, side: int, like: Path | None = None) -> None:
    """A scene, the network, that of ``like`` where there is one, and a bundle of ours around the same network."""
    make_scene(folder, side)
    if like:
        shutil.copyfile(like / NETWORK, folder / NETWORK)
        shutil.copytree(like / BUNDLE, folder / BUNDLE)
        return
    network = shades(folder / IMAGE)
    torch.save(network.state_dict(), folder / NETWORK)
    make_bundle(folder / BUNDLE, Model(library="smp", name="Unet", encoder="resnet18"), BANDS, network.eval())


def shades(image: Path) -> nn.Module:
    """A network that has begun to tell shades of the first band apart.

    One with random weights looks at nothing in particular: its classes change with where a window lies, and maps could
    not be compared.
    """
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    with rasterio.open(image) as source:
        pixels = source.read(window=rasterio.windows.Window(0, 0, 1024, 1024)).astype(np.float32)
    bounds = np.quantile(pixels[0], np.arange(1, CLASSES) / CLASSES)
    network = unet().train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(_STEPS):
        places = random.integers(0, pixels.shape[1] - _CROP + 1, (_BATCH, 2))
        crops = np.stack([pixels[:, r : r + _CROP, c : c + _CROP] for r, c in places])
        truth = torch.from_numpy(np.digitize(crops[:, 0], bounds))
        loss = nn.functional.cross_entropy(OfNumbers(network)(torch.from_numpy(crops)), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network
