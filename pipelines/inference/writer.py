"""Maps on disk: rows into plain GeoTIFFs with a journal of what is done, then cloud-optimised GeoTIFFs."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray

from pipelines.config.params import LabelClass
from pipelines.errors import SwathError
from pipelines.files import read_json, replacing, write_json
from pipelines.inference.arrays import Array
from pipelines.inference.layers import CLASSES, NODATA, Layer


class Grid(Protocol):
    """The pixels of a map."""

    @property
    def crs(self) -> str: ...
    @property
    def affine(self) -> Affine: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


class MapWriter:
    """Takes finished rows in order and keeps them through a kill.

    Rows lie in uncompressed GeoTIFFs in ``work``, written in place; the journal counts the rows whose bytes are on
    disk. A new writer with the same ``key`` goes on after them, one with another key starts over.
    """

    def __init__(self, work: Path, grid: Grid, layers: Sequence[Layer], key: str) -> None:
        self._work, self._grid, self._layers, self._key = work, grid, layers, key
        journal = work / "journal.json"
        self.rows = 0  # finished, from the top
        whole = all((work / layer.file).exists() for layer in layers)  # or a kill came while it was being removed
        if whole and journal.exists() and (former := read_json(journal))["key"] == key:
            self.rows = int(former["rows"])
        else:
            self.restart()

    def restart(self) -> None:
        """Forget what was finished."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        grid = {"crs": self._grid.crs, "transform": self._grid.affine, "dtype": "uint8", "nodata": NODATA}
        grid |= {"width": self._grid.width, "height": self._grid.height, "BIGTIFF": "IF_SAFER", "ALPHA": "NO"}
        for layer in self._layers:
            plain = {"count": len(layer.bands), "interleave": "band", "photometric": "MINISBLACK"}
            rasterio.open(self._work / layer.file, "w", driver="GTiff", **grid, **plain).close()  # allocates all rows
        self._note(0)

    def write(self, rows: slice, probabilities: Array, mask: NDArray[np.uint8]) -> None:
        """Write rows of ``(classes, rows, width)`` into all layers; when it returns they survive a kill."""
        if rows.start != self.rows:
            raise SwathError(f"Rows from {rows.start} came where rows from {self.rows} were due.")
        window = rasterio.windows.Window(0, rows.start, self._grid.width, rows.stop - rows.start)
        for layer in self._layers:
            with rasterio.open(self._work / layer.file, "r+") as out:
                out.write(layer.of(probabilities, mask), window=window)
            with (self._work / layer.file).open("rb") as stream:
                os.fsync(stream.fileno())
        self._note(rows.stop)

    @property
    def classes(self) -> Path:
        """The class map while it is made: a plain GeoTIFF."""
        return self._work / CLASSES

    def finish(
        self, folder: Path, classes: Sequence[LabelClass], tags: Mapping[str, str] | None = None
    ) -> dict[str, int]:
        """Write all layers into ``folder`` as COGs with ``tags``; return the pixels of each class."""
        if self.rows != self._grid.height:
            raise SwathError(f"Only {self.rows} of {self._grid.height} rows are there.")
        with rasterio.open(self.classes, "r+") as out:
            out.write_colormap(1, {i: _rgba(c.color) for i, c in enumerate(classes)} | {NODATA: (0, 0, 0, 0)})
        for layer in self._layers:
            with rasterio.open(self._work / layer.file, "r+") as out:
                out.descriptions = layer.bands
                out.update_tags(**dict(tags or {}))
                out.update_tags(1, **dict(layer.tags))
                if layer.scale is not None:
                    out.scales = (layer.scale,) * len(layer.bands)
        with ThreadPoolExecutor() as pool:  # overviews are made by one thread a file
            made = [pool.submit(_to_cog, self._work / layer.file, folder / layer.file, layer) for layer in self._layers]
            counts = self._count([c.name for c in classes])
            for cog in made:
                cog.result()
        _write_category_names(folder / CLASSES, [c.name for c in classes])
        return counts

    def _count(self, names: list[str]) -> dict[str, int]:
        counts = np.zeros(256, np.int64)
        with rasterio.open(self.classes) as done:
            for top in range(0, done.height, 256):
                window = rasterio.windows.Window(0, top, done.width, min(256, done.height - top))
                counts += np.bincount(done.read(1, window=window).ravel(), minlength=256)
        return {name: int(counts[i]) for i, name in enumerate(names)}

    def _note(self, rows: int) -> None:
        write_json(self._work / "journal.json", {"key": self._key, "rows": rows})
        self.rows = rows


@contextmanager
def alone_at(target: Path) -> Iterator[None]:
    """Keep other processes from making a map in ``target`` meanwhile. Raises ``SwathError`` if one does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.lock"
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(stream.fileno()).st_ino == lock.stat().st_ino  # or its former holder has removed it
        except (BlockingIOError, FileNotFoundError):
            held = False
        if not held:
            raise SwathError(f"Another process is making a map in {target}; wait for it, then try again.")
        yield
        lock.unlink()


def _to_cog(source: Path, target: Path, layer: Layer) -> None:
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        BLOCKSIZE=512,
        COMPRESS="DEFLATE",
        NUM_THREADS="ALL_CPUS",  # the bytes are those of one
        PREDICTOR="NO" if layer.file == CLASSES else "YES",
        OVERVIEW_RESAMPLING=layer.overviews,
        BIGTIFF="IF_SAFER",
    )


def _write_category_names(path: Path, names: Sequence[str]) -> None:
    """GDAL keeps category names beside a TIFF, never in it."""
    dataset = ElementTree.Element("PAMDataset")
    listed = ElementTree.SubElement(ElementTree.SubElement(dataset, "PAMRasterBand", band="1"), "CategoryNames")
    for name in names:
        ElementTree.SubElement(listed, "Category").text = name
    with replacing(path.with_name(f"{path.name}.aux.xml")) as draft:
        ElementTree.ElementTree(dataset).write(draft, encoding="unicode")


def _rgba(color: str) -> tuple[int, int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16), 255
