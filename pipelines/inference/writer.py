"""Maps on disk: rows into plain GeoTIFFs with a journal of what is done, then cloud-optimised GeoTIFFs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from pipelines.config.params import LabelClass
from pipelines.errors import SwathError
from pipelines.files import read_json, replacing, write_json
from pipelines.inference.raster import Raster

CLASSES, CONFIDENCE = "classes.tif", "confidence.tif"
NODATA = 255  # in both maps
PERCENT = 0.01  # scale of the confidence map: its pixels are whole percents of probability


class MapWriter:
    """Takes finished rows in order and keeps them through a kill.

    Rows lie in uncompressed GeoTIFFs in ``work``, written in place; the journal counts the rows whose bytes are on
    disk. A new writer with the same ``key`` goes on after them, one with another key starts over.
    """

    def __init__(self, work: Path, raster: Raster, key: str) -> None:
        self._work, self._raster, self._key = work, raster, key
        journal = work / "journal.json"
        self.rows = 0  # finished, from the top
        if journal.exists() and (former := read_json(journal))["key"] == key:
            self.rows = int(former["rows"])
        else:
            self.restart()

    def restart(self) -> None:
        """Forget what was finished."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        grid = {"crs": self._raster.crs, "transform": self._raster.affine, "count": 1, "dtype": "uint8"}
        grid |= {"width": self._raster.width, "height": self._raster.height, "nodata": NODATA, "BIGTIFF": "IF_SAFER"}
        for name in (CLASSES, CONFIDENCE):
            rasterio.open(self._work / name, "w", driver="GTiff", **grid).close()  # allocates all rows
        self._note(0)

    def write(self, rows: slice, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Write rows ``(rows, width)`` of both maps; when it returns they survive a kill."""
        if rows.start != self.rows:
            raise SwathError(f"Rows from {rows.start} came where rows from {self.rows} were due.")
        window = rasterio.windows.Window(0, rows.start, self._raster.width, rows.stop - rows.start)
        for name, pixels in ((CLASSES, classes), (CONFIDENCE, confidence)):
            with rasterio.open(self._work / name, "r+") as out:
                out.write(pixels, 1, window=window)
            with (self._work / name).open("rb") as stream:
                os.fsync(stream.fileno())
        self._note(rows.stop)

    def finish(self, folder: Path, classes: Sequence[LabelClass]) -> dict[str, int]:
        """Write both COGs into ``folder``; return the pixels of each class."""
        if self.rows != self._raster.height:
            raise SwathError(f"Only {self.rows} of {self._raster.height} rows are there.")
        names = {i: c.name for i, c in enumerate(classes)}
        with rasterio.open(self._work / CLASSES, "r+") as out:
            out.write_colormap(1, {i: _rgba(c.color) for i, c in enumerate(classes)} | {NODATA: (0, 0, 0, 0)})
            out.update_tags(1, classes=json.dumps(names))
            out.set_band_description(1, "class")
        with rasterio.open(self._work / CONFIDENCE, "r+") as out:
            out.scales = (PERCENT,)
            out.set_band_description(1, "probability of the class")
        _to_cog(self._work / CLASSES, folder / CLASSES, overviews="MODE", PREDICTOR="NO")
        _to_cog(self._work / CONFIDENCE, folder / CONFIDENCE, overviews="AVERAGE", PREDICTOR="YES")
        _write_category_names(folder / CLASSES, list(names.values()))
        return self._count(list(names.values()))

    def _count(self, names: list[str]) -> dict[str, int]:
        counts = np.zeros(256, np.int64)
        with rasterio.open(self._work / CLASSES) as done:
            for top in range(0, done.height, 256):
                window = rasterio.windows.Window(0, top, done.width, min(256, done.height - top))
                counts += np.bincount(done.read(1, window=window).ravel(), minlength=256)
        return {name: int(counts[i]) for i, name in enumerate(names)}

    def _note(self, rows: int) -> None:
        write_json(self._work / "journal.json", {"key": self._key, "rows": rows})
        self.rows = rows


def _to_cog(source: Path, target: Path, overviews: str, **options: Any) -> None:
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        BLOCKSIZE=512,
        COMPRESS="DEFLATE",
        OVERVIEW_RESAMPLING=overviews,
        BIGTIFF="IF_SAFER",
        **options,
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
