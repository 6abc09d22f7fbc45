"""Cutting chips: each scene is decoded once, from top to bottom, and all its chips are taken in passing."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from pipelines.config.params import Params
from pipelines.dataset.blocks import SPLITS
from pipelines.dataset.shards import HEADER, INDEX, ChipHeader, shard_file
from pipelines.dataset.snapshot import Manifest
from pipelines.errors import BadData
from pipelines.files import replacing, write_json
from pipelines.labels import LabelSource, open_labels
from pipelines.progress import report
from pipelines.scenes.catalog import verify
from pipelines.scenes.scene import MaskBit, Scene

UNLABELLED = 255

log = logging.getLogger(__name__)


def cut_chips(
    plan: gpd.GeoDataFrame, manifest: Manifest, catalog: Path, labels_dir: Path, params: Params, target: Path
) -> gpd.GeoDataFrame:
    """Write the chips of ``plan`` to the folder ``target`` in the layout of ``ChipStore``; return the index.

    Rows come in the order of split, scene, row and column. Memory holds one strip of a scene, as high as a chip and a
    block of its file. Raises ``BadData`` if a scene's bytes are not those of the manifest, if a block cannot be read,
    or if a usable pixel is not a finite number.
    """
    scenes = {scene.id: scene for scene in manifest.scenes}
    source = open_labels(labels_dir, params.labels)
    classes = [c.name for c in params.labels.classes]
    index = _kept(_labelled(plan, scenes, catalog, source, classes), params)
    size, bands = params.chips.size, manifest.bands
    index["shard"], index["position"] = np.divmod(np.arange(len(index)), params.chips.shard)
    means = np.zeros((len(index), len(bands)))
    contents = np.empty(len(index), object)
    header = ChipHeader(
        bands=bands,
        units=tuple(band.units for band in manifest.scenes[0].bands),
        classes=tuple(classes),
        size=size,
        dtype=manifest.dtype,
    )
    with replacing(target) as draft:
        draft.mkdir()
        shards = _Shards(draft, len(index), params.chips.shard, header)
        for done, (id, chips) in enumerate(index.groupby("scene_id", sort=True)):
            report(done, index["scene_id"].nunique(), f"cutting {id}")
            scene = scenes[str(id)]
            for row, image, mask, labels in _passing(scene, catalog, source, chips, size):
                shards.write(row, image, mask, labels)
                usable = mask == 0
                means[row] = (
                    scene.physical(image)[:, usable].astype(np.float64).mean(axis=1) if usable.any() else np.nan
                )
                contents[row] = _content(image)
        shards.close()
        index["content"] = contents
        for i, band in enumerate(bands):
            index[f"mean_{band}"] = means[:, i]
            index[f"scale_{band}"] = [scenes[s].bands[i].scale for s in index["scene_id"]]
            index[f"offset_{band}"] = [scenes[s].bands[i].offset for s in index["scene_id"]]
        index.to_parquet(draft / INDEX)
        write_json(draft / HEADER, header.model_dump(mode="json"))
    return index


def _labelled(
    plan: gpd.GeoDataFrame, scenes: dict[str, Scene], catalog: Path, source: LabelSource, classes: list[str]
) -> gpd.GeoDataFrame:
    """The plan with usable share and class pixels of each chip, from labels and masks alone."""
    index = plan.reset_index(drop=True).copy()
    counts = np.zeros((len(index), len(classes)), np.int64)
    for id, chips in index.groupby("scene_id", sort=True):
        scene = scenes.get(str(id))
        if scene is None:
            raise BadData(f"The plan names scene {id}, which the manifest lacks; run `swath split` again.")
        verify(scene, catalog)
        for row, _, mask, labels in _passing(scene, catalog, source, chips, int(chips["size"].iloc[0]), pixels=False):
            counts[row] = np.bincount(labels[mask == 0], minlength=len(classes))[: len(classes)]
    index["valid"] = counts.sum(axis=1) / index["size"].to_numpy() ** 2
    for i, name in enumerate(classes):
        index[f"pixels_{name}"] = counts[:, i]
    of = [scenes[s] for s in index["scene_id"]]
    index["datetime"] = pd.to_datetime([s.datetime for s in of], utc=True)
    index["season"], index["zone"] = [s.season for s in of], [s.zone for s in of]
    return index


def _kept(index: gpd.GeoDataFrame, params: Params) -> gpd.GeoDataFrame:
    """Without chips that show too little, and with ``keep_empty`` of the train chips that show one class only."""
    enough = (index["valid"] >= params.chips.min_valid) & (index["valid"] > 0)
    pixels = index[[c for c in index.columns if c.startswith("pixels_")]].to_numpy()
    empty = (index["split"] == "train") & ((pixels > 0).sum(axis=1) == 1)
    lot = np.array([int(hashlib.sha256(id.encode()).hexdigest()[:8], 16) / 2**32 for id in index["chip_id"]])
    kept = index[enough & (~empty | (lot < params.chips.keep_empty))]
    for split in SPLITS:
        if (index["split"] == split).any() and not (kept["split"] == split).any():
            raise BadData(f"No {split} chip is left; lower chips.min_valid or raise chips.keep_empty.")
    log.info("%d of %d planned chips are kept", len(kept), len(index))
    order = kept["split"].map({s: i for i, s in enumerate(SPLITS)})
    kept = kept.assign(order=order).sort_values(["order", "scene_id", "row", "col"])
    return kept.drop(columns="order").reset_index(drop=True)


def _passing(
    scene: Scene, catalog: Path, source: LabelSource, chips: pd.DataFrame, size: int, pixels: bool = True
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]]]:
    """Chips of one scene from top to bottom: row number in ``chips``, image, mask ``(h, w)``, labels ``(h, w)``.

    A strip moves down the scene; rows that no chip needs any more leave it, and no row is read twice.
    """
    left, right = int(chips["col"].min()), int(chips["col"].max()) + size
    try:
        with rasterio.open(scene.image_path(catalog)) as image, rasterio.open(scene.mask_path(catalog)) as mask:
            step = max(image.block_shapes[0][0], 16)

            def strip(top: int, bottom: int) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]]:
                window = Window(left, top, right - left, bottom - top)
                bits = mask.read(1, window=window)
                labels = source.burn(scene, window)
                bits[labels == UNLABELLED] |= np.uint8(MaskBit.UNLABELLED)
                labels[bits != 0] = UNLABELLED
                read = image.read(window=window) if pixels else np.empty((0, *bits.shape), image.dtypes[0])
                if np.issubdtype(read.dtype, np.floating) and not np.isfinite(read[:, bits == 0]).all():
                    raise BadData(
                        f"Scene {scene.id} has pixels that are not numbers where its mask says they are usable, in "
                        f"rows {top} to {bottom}; set scenes.nodata and ingest it again."
                    )
                return read, bits, labels

            top = bottom = 0
            held: tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]] | None = None
            for first, group in chips.sort_values(["row", "col"]).groupby("row", sort=True):
                first = int(first)
                if held is None or first >= bottom:
                    top = bottom = first // step * step
                    held = None
                if bottom < first + size:
                    until = min(scene.height, -(-(first + size) // step) * step)
                    new = strip(bottom, until)
                    if held is not None:
                        keep = slice(first - top, None)
                        new = tuple(  # type: ignore[assignment]
                            np.concatenate([old[..., keep, :], fresh], axis=-2)
                            for old, fresh in zip(held, new, strict=True)
                        )
                        top = first
                    held, bottom = new, until
                assert held is not None
                down = slice(first - top, first - top + size)
                for row, column in zip(group.index, group["col"], strict=True):
                    across = slice(int(column) - left, int(column) - left + size)
                    yield int(row), held[0][:, down, across], held[1][down, across], held[2][down, across]
    except RasterioError as error:
        raise BadData(
            f"Scene {scene.id} cannot be read from {scene.image_path(catalog)} ({error}); delete it from the catalog "
            "and ingest it again."
        ) from error


class _Shards:
    """Arrays on disk that chips are written into, by row number."""

    def __init__(self, folder: Path, chips: int, per_shard: int, header: ChipHeader) -> None:
        self._per_shard = per_shard
        self._arrays: list[tuple[np.memmap, np.memmap, np.memmap]] = []
        size = header.size
        for shard, start in enumerate(range(0, chips, per_shard)):
            n = min(per_shard, chips - start)

            def opened(part: str, shape: tuple[int, ...], dtype: str, shard: int = shard) -> np.memmap:
                file = folder / shard_file(shard, part)
                return np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(dtype), shape=shape)

            self._arrays.append(
                (
                    opened("images", (n, len(header.bands), size, size), header.dtype),
                    opened("labels", (n, size, size), "uint8"),
                    opened("masks", (n, size, size), "uint8"),
                )
            )

    def write(self, row: int, image: NDArray[Any], mask: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        images, all_labels, masks = self._arrays[row // self._per_shard]
        position = row % self._per_shard
        images[position], all_labels[position], masks[position] = image, labels, mask

    def close(self) -> None:
        for arrays in self._arrays:
            for array in arrays:
                array.flush()
        self._arrays = []


def _content(image: NDArray[Any]) -> str | None:
    """Hash of a chip's pixels; None for a flat one, which proves nothing when it is found twice."""
    if (image == image[:, :1, :1]).all():
        return None
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:32]
