"""The scene that contenders work on: a catalog of one, and a raster of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from benchmarks.peers import BANDS, CLASSES, LABELS, SCENE
from pipelines.files import sha256, write_json
from pipelines.scenes.scene import Scene
from tests.builders import write_scene


def make_scene(folder: Path, side: int) -> Scene:
    """A square scene of noise over patches, as compressible as land, and its labels; what it has is in ``folder``."""
    random = np.random.default_rng(0)
    coarse = random.integers(400, 4000, (len(BANDS), side // 64 + 1, side // 64 + 1), dtype=np.uint16)
    pixels = coarse.repeat(64, axis=1).repeat(64, axis=2)[:, :side, :side]
    for band in pixels:
        band += random.integers(0, 200, band.shape, dtype=np.uint16)
    scene = write_scene(folder / "catalog", pixels, id="scene", bands=BANDS)
    files = {"image_sha256": folder / "catalog" / scene.image, "mask_sha256": folder / "catalog" / scene.mask}
    for path in files.values():
        _to_cog(path)
    labels = (coarse[0] % len(CLASSES) + 1).astype(np.uint8).repeat(64, axis=0).repeat(64, axis=1)[:side, :side]
    (folder / LABELS).parent.mkdir()
    with rasterio.open(folder / "catalog" / scene.image) as source:
        grid = {"crs": source.crs, "transform": source.transform, "width": side, "height": side}
    grid |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(folder / LABELS, "w", driver="GTiff", count=1, dtype="uint8", **grid) as out:
        out.write(labels, 1)
    scene = scene.model_copy(update={name: sha256(path) for name, path in files.items()})
    write_json(folder / SCENE, scene.model_dump(mode="json"))
    return scene


def _to_cog(path: Path) -> None:
    plain = path.rename(path.with_name(f"plain-{path.name}"))
    rasterio.shutil.copy(
        plain, path, driver="COG", BLOCKSIZE=512, COMPRESS="DEFLATE", PREDICTOR="YES", NUM_THREADS="ALL_CPUS"
    )
    plain.unlink()
