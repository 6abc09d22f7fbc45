"""Chips on disk: a few flat arrays that are memory-mapped, and an index with one row a chip."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.dataset.crop import Crop
from pipelines.dataset.scene_pixels import SCENES, ScenePixels
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


def read_index(folder: Path, without: Collection[str] = ("geometry",)) -> pd.DataFrame:
    """The index of the chips in ``folder``, a row a chip (RangeIndex); what is ``without`` takes no memory.

    Columns: those of the plan (chip_id, scene_id, split, block_id, region, row, col, size, geometry) and shard,
    position, valid, content, datetime, season, zone, ``pixels_<class>``, ``mean_<band>`` (physical units),
    ``scale_<band>`` and ``offset_<band>``.
    """
    path = folder / INDEX
    return pd.read_parquet(path, columns=[name for name in pq.read_schema(path).names if name not in without])


class ChipStore:
    """Read access to ``data/chips``.

    ``index`` is what ``read_index`` tells, but for what each chip has of its own and nobody asks a store for: name,
    checksum and outline, which are most of the bytes. ``scale`` and ``offset`` are float32 ``(chips, bands)``. A store
    may be sent to another process: the arrays are mapped again there. Where the images of chips were left in their
    scenes (``chips.pixels``), they come from the catalog of this machine; nobody else knows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX).exists():
            raise BadData(f"{self.folder} holds no {INDEX}; run the stages up to `swath chip` first.")
        self.header = ChipHeader.model_validate(read_json(self.folder / HEADER))
        self.bands = self.header.bands
        self.classes = self.header.classes
        self.index = read_index(self.folder, ("chip_id", "content", "geometry"))
        self.scale = self._columns("scale_")
        self.offset = self._columns("offset_")
        lies = self.index["shard"].to_numpy(np.int64), self.index["position"].to_numpy(np.int64)
        kind = len(self.bands), self.header.dtype
        self._images = (
            ScenePixels(self.folder, self.index, *kind)
            if (self.folder / SCENES).exists()
            else _Part(self.folder, "images", *lies, *kind)
        )
        self._labels, self._masks = (_Part(self.folder, part, *lies) for part in ("labels", "masks"))

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the chips of ``split``."""
        return np.flatnonzero((self.index["split"] == split).to_numpy()).astype(np.int64)

    def gather(
        self, rows: NDArray[np.integer], crop: Crop | None = None
    ) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]]:
        """Images ``(n, bands, side, side)`` in the source's dtype, labels and masks ``(n, side, side)`` uint8.

        Whole chips, or of each the window that ``crop`` says; nothing else is read. Labels are class indices, 255 where
        masked or unlabelled. Masks hold bits of ``MaskBit``.
        """
        rows = np.asarray(rows, np.int64)
        crop = crop or Crop(np.zeros((len(rows), 2), np.int64), self.header.size)
        return self._images.read(rows, crop), self._labels.read(rows, crop), self._masks.read(rows, crop)

    def labels(self, row: int) -> NDArray[np.uint8]:
        """Labels of one chip ``(size, size)``, mapped and not copied."""
        return self._labels.chip(row)

    def _columns(self, prefix: str) -> NDArray[np.float32]:
        return np.asarray(self.index[[prefix + band for band in self.bands]].to_numpy(np.float32))


class _Part:
    """Images, labels or masks of all chips, from shards."""

    def __init__(
        self,
        folder: Path,
        part: str,
        shard: NDArray[np.int64],
        position: NDArray[np.int64],
        bands: int | None = None,
        dtype: str = "uint8",
    ) -> None:
        self._folder, self._part = folder, part
        self._shard, self._position = shard, position  # of each chip
        self._lead, self._dtype = () if bands is None else (bands,), dtype
        self._maps: dict[int, NDArray[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # pickling a memory map would copy its contents

    def read(self, rows: NDArray[np.integer], crop: Crop) -> NDArray[Any]:
        """A copy of the windows ``(n, ..., side, side)``."""
        read = np.empty((len(rows), *self._lead, crop.side, crop.side), self._dtype)
        for i in np.lexsort((self._position[rows], self._shard[rows])):  # in the order in which they lie on disk
            top, left = crop.corners[i]
            read[i] = self.chip(int(rows[i]))[..., top : top + crop.side, left : left + crop.side]
        return read

    def chip(self, row: int) -> NDArray[Any]:
        """One chip ``(..., size, size)``, mapped and not copied."""
        shard = int(self._shard[row])
        if shard not in self._maps:
            file = self._folder / shard_file(shard, self._part)
            # as a plain array: slices of a memmap cost microseconds of bookkeeping each
            self._maps[shard] = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
        found: NDArray[Any] = self._maps[shard][self._position[row]]
        return found


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
