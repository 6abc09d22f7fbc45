"""Chips on disk: a few flat arrays that are memory-mapped, and an index with one row a chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData
from pipelines.files import read_json

INDEX = "index.parquet"
HEADER = "chips.json"


class ChipHeader(BaseModel):
    """What all chips of a folder share: ``chips.json``."""

    model_config = ConfigDict(frozen=True)

    bands: tuple[str, ...]
    units: tuple[str, ...]
    classes: tuple[str, ...]
    size: int  # pixels
    dtype: str  # of the images


def shard_file(shard: int, part: str) -> str:
    """Name of a shard's file; ``part`` is ``images``, ``labels`` or ``masks``."""
    return f"{shard:05d}.{part}.npy"


class ChipStore:
    """Read access to ``data/chips``.

    ``index`` is a GeoDataFrame (RangeIndex) with the columns of the plan (chip_id, scene_id, split, block_id, region,
    row, col, size, geometry) and shard, position, valid, content, datetime, season, zone, ``pixels_<class>``,
    ``mean_<band>`` (physical units), ``scale_<band>`` and ``offset_<band>``. ``scale`` and ``offset`` are float32
    ``(chips, bands)``. A store may be sent to another process: the arrays are mapped again there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX).exists():
            raise BadData(f"{self.folder} holds no {INDEX}; run the stages up to `swath chip` first.")
        self.header = ChipHeader.model_validate(read_json(self.folder / HEADER))
        self.bands = self.header.bands
        self.classes = self.header.classes
        self.index: gpd.GeoDataFrame = gpd.read_parquet(self.folder / INDEX)
        self.scale = self._columns("scale_")
        self.offset = self._columns("offset_")
        self._shard: NDArray[np.int64] = self.index["shard"].to_numpy(np.int64)
        self._position: NDArray[np.int64] = self.index["position"].to_numpy(np.int64)
        self._maps: dict[tuple[int, str], NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # pickling a memory map would copy its contents

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the chips of ``split``."""
        return np.flatnonzero((self.index["split"] == split).to_numpy()).astype(np.int64)

    def gather(self, rows: NDArray[np.integer]) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]]:
        """Images ``(n, bands, size, size)`` in the source's dtype, labels and masks ``(n, size, size)`` uint8.

        Labels are class indices, 255 where masked or unlabelled. Masks hold bits of ``MaskBit``.
        """
        rows = np.asarray(rows, np.int64)
        size = self.header.size
        images = np.empty((len(rows), len(self.bands), size, size), self.header.dtype)
        labels = np.empty((len(rows), size, size), np.uint8)
        masks = np.empty((len(rows), size, size), np.uint8)
        shards = self._shard[rows]
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            here = here[np.argsort(self._position[rows[here]], kind="stable")]  # in the order in which they lie on disk
            position = self._position[rows[here]]
            images[here] = self._map(int(shard), "images")[position]
            labels[here] = self._map(int(shard), "labels")[position]
            masks[here] = self._map(int(shard), "masks")[position]
        return images, labels, masks

    def labels(self, row: int) -> NDArray[np.uint8]:
        """Labels of one chip ``(size, size)``, mapped and not copied."""
        found: NDArray[np.uint8] = self._map(int(self._shard[row]), "labels")[self._position[row]]
        return found

    def _columns(self, prefix: str) -> NDArray[np.float32]:
        return np.asarray(self.index[[prefix + band for band in self.bands]].to_numpy(np.float32))

    def _map(self, shard: int, part: str) -> NDArray[Any]:
        key = (shard, part)
        if key not in self._maps:
            self._maps[key] = np.load(self.folder / shard_file(shard, part), mmap_mode="r", allow_pickle=False)
        return self._maps[key]


def physical(images: NDArray[Any], scale: NDArray[np.float32], offset: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels ``(n, bands, h, w)`` to physical units, float32; ``scale`` and ``offset`` are ``(n, bands)``."""
    converted = images.astype(np.float32)
    converted *= scale[:, :, None, None]
    converted += offset[:, :, None, None]
    return converted


def band_means(image: NDArray[Any], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each band of ``(bands, h, w)`` over the usable pixels, as these are stored; NaN where there are none."""
    count = np.count_nonzero(usable)
    if not count:
        return np.full(len(image), np.nan)
    pixels = image if count == usable.size else np.where(usable, image, image.dtype.type(0))
    exact = np.issubdtype(image.dtype, np.integer)  # whole numbers are added as such, which is faster
    return np.asarray(pixels.reshape(len(image), -1).sum(axis=1, dtype=None if exact else np.float64) / count)
