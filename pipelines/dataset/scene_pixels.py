"""Images of chips that no shard holds: windows of the catalog's scenes, read when they are asked for.

Labels and masks are in shards all the same, two bytes a pixel. To burn 300 shapes into 256 x 256 pixels takes as long
as to load twenty chips, and every later stage would depend on the labels and their code.
"""

from __future__ import annotations

import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.errors import RasterioError
from rasterio.windows import Window

from pipelines.config.settings import settings
from pipelines.dataset.crop import Crop
from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.scenes.catalog import verify
from pipelines.scenes.scene import Scene

SCENES = "scenes.json"
_BLOCK = 512  # rows of a block of the catalog's COGs
_OPEN = 64  # scenes that stay open for each thread at most, with their decoded blocks in GDAL's cache
_MOST_THREADS = 16

_Identity = tuple[int, int, int]


class ChipScenes(BaseModel):
    """``scenes.json``: the very scenes, with checksums, that images are read from. Where it is, shards have none."""

    model_config = ConfigDict(frozen=True)

    project: str
    scenes: tuple[Scene, ...]


class ScenePixels:
    """Images of chips from the catalog of this machine (``SWATH_CATALOG``).

    Each scene's bytes are compared with its checksum before its first pixel is read, and again where another file has
    taken the place of one that was closed meanwhile. Blocks are decoded by several
    threads; a strip of ground always falls to the same thread, since GDAL keeps decoded blocks by open file. How many
    of them it keeps, ``GDAL_CACHEMAX`` says (5 % of the memory).
    """

    def __init__(self, folder: Path, index: pd.DataFrame, bands: int, dtype: str) -> None:
        pinned = ChipScenes.model_validate(read_json(folder / SCENES))
        numbers = {scene.id: number for number, scene in enumerate(pinned.scenes)}
        self._scenes = pinned.scenes
        self._catalog = settings().catalog / pinned.project
        self._scene: NDArray[np.int64] = index["scene_id"].map(numbers).to_numpy(np.int64)  # of each chip
        self._corner: NDArray[np.int64] = index[["row", "col"]].to_numpy(np.int64)
        self._bands, self._dtype = bands, dtype
        self._verified: dict[int, _Identity] = {}  # of the files whose bytes were compared
        self._openers: list[Any] = []
        self._alone = threading.Lock()  # open files are for one thread at a time

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_alone"} | {"_openers": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # open files stayed in their process
        self._alone = threading.Lock()

    def read(self, rows: NDArray[np.integer], crop: Crop) -> NDArray[Any]:
        """The windows ``(n, bands, side, side)``.

        Raises ``BadData`` if a scene is not in the catalog, is not what it was, or cannot be read.
        """
        with self._alone:
            return self._read(rows, crop)

    def _read(self, rows: NDArray[np.integer], crop: Crop) -> NDArray[Any]:
        images = np.empty((len(rows), self._bands, crop.side, crop.side), self._dtype)
        scene, corner = self._scene[rows], self._corner[rows] + crop.corners
        for number in np.unique(scene).tolist():
            if number not in self._verified:
                self._verify(number)
        if not self._openers:
            threads = min(os.cpu_count() or 1, _MOST_THREADS)
            self._openers = [lru_cache(_at_once(threads))(self._open) for _ in range(threads)]
        strip = corner[:, 0] // _BLOCK
        thread = (scene + strip) % len(self._openers)
        order = np.lexsort((corner[:, 1] // _BLOCK, strip, scene))  # those of one block one after another

        def work(opener: int) -> None:
            for i in order[thread[order] == opener]:
                top, left = corner[i].tolist()
                window = Window(left, top, crop.side, crop.side)
                self._window(self._openers[opener], int(scene[i]), window, images[i])

        with ThreadPoolExecutor(len(self._openers)) as pool:
            list(pool.map(work, np.unique(thread).tolist()))
        return images

    def _window(self, opened: Any, number: int, window: Window, image: NDArray[Any]) -> None:
        try:
            opened(number).read(window=window, out=image)
        except RasterioError as error:
            scene = self._scenes[number]
            path = scene.image_path(self._catalog)
            raise BadData(
                f"Scene {scene.id} cannot be read from {path} ({error}); delete it from the catalog and ingest it "
                "again."
            ) from error

    def _open(self, number: int) -> Any:
        path = self._scenes[number].image_path(self._catalog)
        opened = rasterio.open(path)
        if _identity(path) == self._verified[number]:
            return opened
        opened.close()
        self._verify(number)
        return self._open(number)

    def _verify(self, number: int) -> None:
        scene = self._scenes[number]
        if not scene.image_path(self._catalog).is_file():
            raise BadData(
                f"data/chips holds no pixels (chips.pixels: scenes), and {self._catalog} has no scene {scene.id} to "
                "read them from. Set SWATH_CATALOG to the catalog that the dataset was made of, or run the chip stage "
                "with chips.pixels: shards."
            )
        identity = _identity(scene.image_path(self._catalog))
        verify(scene, self._catalog)
        self._verified[number] = identity


def _at_once(threads: int) -> int:
    """Scenes that each of so many threads may keep open, within half of what this process may."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN if files == resource.RLIM_INFINITY else max(1, min(_OPEN, files // (2 * threads)))


def _identity(path: Path) -> _Identity:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
