"""What the tests of maps are made on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.inference.predict import Tiling
from pipelines.inference.raster import of_scene
from tests.builders import write_scene
from tests.bundle.trained import BANDS

# of the whole process, which still holds what other tests have left
TILING = Tiling(window=64, overlap=16, batch=4, max_memory=16 * 10**9)


def dn(height, width, seed=0):
    """Patches of 8 pixels, so that the map has shapes."""
    coarse = np.random.default_rng(seed).integers(300, 6000, (3, height // 8 + 1, width // 8 + 1), dtype=np.uint16)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


def scene_raster(folder, bundle, height=300, width=220):
    mask = np.zeros((height, width), np.uint8)
    mask[40:80, 30:90], mask[100:110, :] = 1, 2
    scene = write_scene(folder, dn(height, width), mask=mask, bands=BANDS)
    return scene, of_scene(scene, folder, bundle.contract), mask


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
