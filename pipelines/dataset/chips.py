"""Cutting chips: each scene is decoded once, from top to bottom, and all its chips are taken in passing."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
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
from pipelines.dataset.boxes import write_boxes
from pipelines.dataset.scene_pixels import SCENES, ChipScenes
from pipelines.dataset.shards import HEADER, INDEX, ChipHeader, band_means, shard_file
from pipelines.dataset.snapshot import Manifest
from pipelines.errors import BadData
from pipelines.files import replacing, write_json
from pipelines.labels import LabelSource, open_labels
from pipelines.progress import report
from pipelines.scenes.catalog import verify
from pipelines.scenes.scene import MaskBit, Scene

UNLABELLED = 255
_CACHE = 64 * 2**20  # bytes for decoded blocks; GDAL would take 5 % of the memory to keep what never comes again
_STRIP = 96 * 2**20  # bytes; four such may be in memory: what is held, what is read, and both while they are joined
Strip = tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]]  # image, mask and labels of some rows

log = logging.getLogger(__name__)


def cut_chips(
    plan: gpd.GeoDataFrame, manifest: Manifest, catalog: Path, labels_dir: Path, params: Params, target: Path
) -> gpd.GeoDataFrame:
    """Write the chips of ``plan`` to the folder ``target`` in the layout of ``ChipStore``; return the index.

    With ``chips.pixels: scenes`` no images are written, and all else is the same to the byte.
    Rows come in the order of split, scene, row and column. Memory holds strips of a scene as high as a chip and a block
    of its file, and no wider than ``_STRIP`` allows. Raises ``BadData`` if a scene's bytes are not those of the
    manifest, if a block cannot be read, or if a usable pixel is not a finite number.
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
        in_scenes = params.chips.pixels == "scenes"
        shards = _Shards(draft, len(index), params.chips.shard, header, images=not in_scenes)
        of_scene = index.groupby("scene_id", sort=True)
        for done, (id, chips) in enumerate(of_scene):
            report(done, len(of_scene), f"cutting {id}")
            scene = scenes[str(id)]
            for row, image, mask, labels in _passing(scene, catalog, source, chips, size):
                image = np.ascontiguousarray(image)
                shards.write(row, image, mask, labels)
                means[row] = band_means(image, mask == 0)
                contents[row] = _content(image)
        index["content"] = contents
        for i, band in enumerate(bands):
            index[f"scale_{band}"] = [scenes[s].bands[i].scale for s in index["scene_id"]]
            index[f"offset_{band}"] = [scenes[s].bands[i].offset for s in index["scene_id"]]
            index[f"mean_{band}"] = means[:, i] * index[f"scale_{band}"] + index[f"offset_{band}"]
        index.to_parquet(draft / INDEX)
        write_json(draft / HEADER, header.model_dump(mode="json"))
        if in_scenes:
            shown = tuple(scenes[id] for id in sorted(set(index["scene_id"])))
            pinned = ChipScenes(project=manifest.project, scenes=shown)
            write_json(draft / SCENES, pinned.model_dump(mode="json"))
        if params.task == "detection":
            write_boxes(draft, scenes, source)
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
        size = int(chips["size"].iloc[0])
        with ThreadPoolExecutor(1) as aside:
            verified = aside.submit(verify, scene, catalog)
            try:
                for row, _, _, labels in _passing(scene, catalog, source, chips, size, pixels=False):
                    counts[row] = [np.count_nonzero(labels == i) for i in range(len(classes))]  # masked ones are 255
            finally:
                verified.result()  # that a scene has changed explains whatever else is wrong with it
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

    A strip moves down the scene; rows that no chip needs any more leave it, and no row is read twice. The next rows are
    read by a second thread meanwhile. A scene that is too wide for ``_STRIP`` is passed in columns, one by one.
    """
    try:
        with (
            rasterio.Env(GDAL_CACHEMAX=_CACHE),
            rasterio.open(scene.image_path(catalog), NUM_THREADS="ALL_CPUS") as image,
            rasterio.open(scene.mask_path(catalog)) as mask,
            ThreadPoolExecutor(1) as reader,
        ):

            def strip(window: Window) -> Strip:
                bits = mask.read(1, window=window)
                labels = source.burn(scene, window)
                bits[labels == UNLABELLED] |= np.uint8(MaskBit.UNLABELLED)
                labels[bits != 0] = UNLABELLED
                read = image.read(window=window) if pixels else np.empty((0, *bits.shape), image.dtypes[0])
                if np.issubdtype(read.dtype, np.floating) and not np.isfinite(read[:, bits == 0]).all():
                    raise BadData(
                        f"Scene {scene.id} has pixels that are not numbers where its mask says they are usable, in "
                        f"rows {window.row_off} to {window.row_off + window.height}; set scenes.nodata and ingest it "
                        "again."
                    )
                return read, bits, labels

            step = max(image.block_shapes[0][0], 16)
            depth = 2 + (sum(np.dtype(of).itemsize for of in image.dtypes) if pixels else 0)
            for column in _columns(chips, size, _STRIP // (depth * (size + step))):
                yield from _down(column, size, step, scene.height, partial(_ahead, reader, strip))
    except RasterioError as error:
        raise BadData(
            f"Scene {scene.id} cannot be read from {scene.image_path(catalog)} ({error}); delete it from the catalog "
            "and ingest it again."
        ) from error


def _columns(chips: pd.DataFrame, size: int, widest: int) -> Iterator[pd.DataFrame]:
    """The chips from left to right in parts that span at most ``widest`` pixels, or one chip."""
    while len(chips):
        inside = chips["col"] + size <= chips["col"].min() + max(widest, size)
        yield chips[inside]
        chips = chips[~inside]


def _down(
    chips: pd.DataFrame, size: int, step: int, height: int, read: Callable[[list[Window]], Iterator[Strip]]
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8], NDArray[np.uint8]]]:
    """``_passing`` for the chips of one column."""
    left, right = int(chips["col"].min()), int(chips["col"].max()) + size
    groups = [(int(first), group) for first, group in chips.sort_values(["row", "col"]).groupby("row")]
    reads = _reads([first for first, _ in groups], size, step, height)
    strips = read([Window(left, rows[0], right - left, rows[1] - rows[0]) for rows in reads if rows])
    top = 0
    held: Strip | None = None
    for (first, group), rows in zip(groups, reads, strict=True):
        if rows:
            anew = held is None or first >= rows[0]
            held = next(strips) if anew or held is None else _joined(held, first - top, next(strips))
            top = rows[0] if anew else first
        assert held is not None
        down = slice(first - top, first - top + size)
        for row, column in zip(group.index, group["col"], strict=True):
            across = slice(int(column) - left, int(column) - left + size)
            yield int(row), held[0][:, down, across], held[1][down, across], held[2][down, across]


def _ahead(reader: Executor, strip: Callable[[Window], Strip], windows: list[Window]) -> Iterator[Strip]:
    """The strip of each window; while one is in use, the next is read."""
    coming: Future[Strip] | None = None
    for window in windows:
        ready, coming = coming, reader.submit(strip, window)
        if ready:
            yield ready.result()
    if coming:
        yield coming.result()


def _reads(firsts: list[int], size: int, step: int, height: int) -> list[tuple[int, int] | None]:
    """For chips that begin at each of ``firsts``, ascending, the rows to read before they can be cut, if any.

    Rows are read in whole blocks of ``step``; those that no chip needs are passed over.
    """
    found: list[tuple[int, int] | None] = []
    bottom = 0
    for first in firsts:
        begin = max(bottom, first // step * step)
        until = min(height, -(-(first + size) // step) * step)
        found.append((begin, until) if until > bottom else None)
        bottom = max(bottom, until)
    return found


def _joined(held: Strip, above: int, new: Strip) -> Strip:
    """The strip without its ``above`` first rows and with ``new`` below."""
    parts = (np.concatenate([old[..., above:, :], fresh], axis=-2) for old, fresh in zip(held, new, strict=True))
    return next(parts), next(parts), next(parts)


class _Shards:
    """Arrays on disk that chips are written into, by row number."""

    def __init__(self, folder: Path, chips: int, per_shard: int, header: ChipHeader, images: bool) -> None:
        self._per_shard = per_shard
        self._files: list[dict[str, tuple[Path, int]]] = []  # of each shard: the part's file, and where chips begin
        size = header.size
        shapes: dict[str, tuple[tuple[int, ...], str]] = dict.fromkeys(("labels", "masks"), ((size, size), "uint8"))
        if images:
            shapes["images"] = (len(header.bands), size, size), header.dtype
        for shard, start in enumerate(range(0, chips, per_shard)):
            n = min(per_shard, chips - start)
            parts = {}
            for part, (shape, dtype) in shapes.items():
                file = folder / shard_file(shard, part)
                whole = np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(dtype), shape=(n, *shape))
                parts[part] = (file, whole.offset)
            self._files.append(parts)

    def write(self, row: int, image: NDArray[Any], mask: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        shard, position = divmod(row, self._per_shard)
        arrays = {"images": image, "labels": labels, "masks": mask}
        for part, (file, begin) in self._files[shard].items():
            array = arrays[part]
            with file.open("r+b") as stream:  # a mapped array would have each page read before it is overwritten
                stream.seek(begin + position * array.nbytes)
                stream.write(np.ascontiguousarray(array).data)


def _content(image: NDArray[Any]) -> str | None:
    """Hash of a chip's pixels, which lie in one piece; None for a flat one, which proves nothing if found twice."""
    if (image[:, 0] == image[:, 0, :1]).all() and (image == image[:, :1, :1]).all():
        return None
    return hashlib.sha256(image.data).hexdigest()[:32]
