"""Two makings of one map, file by file: whether their bytes agree, and where and by how much they do not."""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from pydantic import BaseModel, ConfigDict
from rasterio.errors import RasterioError
from rasterio.windows import Window, bounds

from pipelines.audit.record import Record
from pipelines.files import sha256
from pipelines.inference.layers import CLASSES


class Place(BaseModel):
    """The smallest window around all pixels that differ; first and one past the last, and in the map's CRS."""

    model_config = ConfigDict(frozen=True)

    rows: tuple[int, int]
    columns: tuple[int, int]
    bounds: tuple[float, float, float, float]
    crs: str


class Comparison(BaseModel):
    """One file. ``as_made`` is whether the new bytes are those that the map's item lists; ``None`` if it lists none."""

    model_config = ConfigDict(frozen=True)

    file: str
    verdict: Literal["same", "same pixels", "different", "unreadable", "not here"]
    as_made: bool | None
    share: float | None = None  # of pixels that differ
    largest: float | None = None  # difference, in the file's units; None for classes, which have no distance
    where: Place | None = None


def compared(record: Record, rebuilt: Path) -> tuple[Comparison, ...]:
    """Each file of the map against that of the same name in the folder ``rebuilt``, and side files that are in both."""
    listed = [_file(name, record.path(name), rebuilt / name, made) for name, made in sorted(record.files.items())]
    others = sorted(path.name for path in rebuilt.glob("*.aux.xml") if (record.folder / path.name).is_file())
    return (*listed, *(_file(name, record.folder / name, rebuilt / name, None) for name in others))


def _file(name: str, ours: Path, theirs: Path, made: str | None) -> Comparison:
    as_made = (theirs.is_file() and sha256(theirs) == made) if made else None
    if not ours.is_file() or not theirs.is_file():
        return Comparison(file=name, verdict="not here", as_made=as_made)
    if filecmp.cmp(ours, theirs, shallow=False):
        return Comparison(file=name, verdict="same", as_made=as_made)
    if not name.endswith(".tif"):
        return Comparison(file=name, verdict="different", as_made=as_made)
    return _pixels(name, ours, theirs, as_made)


def _pixels(name: str, ours: Path, theirs: Path, as_made: bool | None) -> Comparison:
    differing, largest, unreadable = 0, 0.0, False
    rows: list[int] = []
    columns: list[int] = []
    try:
        one = rasterio.open(ours)
    except RasterioError:
        return Comparison(file=name, verdict="unreadable", as_made=as_made)
    with one, rasterio.open(theirs) as other:
        if (one.shape, one.count) != (other.shape, other.count):
            return Comparison(file=name, verdict="different", as_made=as_made, share=1.0)
        for _, window in other.block_windows(1):
            then = other.read(window=window).astype(np.int64)
            try:
                now = one.read(window=window).astype(np.int64)
                apart = np.abs(now - then)
            except RasterioError:  # a damaged block shows nothing of its pixels
                unreadable, apart = True, np.ones_like(then)
            else:
                largest = max(largest, float(apart.max()))
            r, c = np.nonzero(apart.any(axis=0))
            if len(r):
                differing += len(r)
                rows += [window.row_off + int(r.min()), window.row_off + int(r.max()) + 1]
                columns += [window.col_off + int(c.min()), window.col_off + int(c.max()) + 1]
        if not differing:
            return Comparison(file=name, verdict="same pixels", as_made=as_made)
        box = Window(min(columns), min(rows), max(columns) - min(columns), max(rows) - min(rows))
        place = Place(
            rows=(min(rows), max(rows)),
            columns=(min(columns), max(columns)),
            bounds=bounds(box, other.transform),
            crs=other.crs.to_string(),
        )
        scale = other.scales[0]
        share = differing / (other.width * other.height)
    return Comparison(
        file=name,
        verdict="unreadable" if unreadable else "different",
        as_made=as_made,
        share=share,
        largest=None if name == CLASSES or unreadable else largest * scale,
        where=place,
    )
