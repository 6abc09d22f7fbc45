"""One map from many: probabilities warped onto one grid and averaged, then the likeliest class.

Classes cannot be warped but by nearest neighbour, which doubles and drops pixels along borders; probabilities can.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from pipelines.config.params import Also, LabelClass
from pipelines.errors import BadData
from pipelines.files import read_json, replacing, write_json
from pipelines.inference.item import ITEM, map_item, require_room, tags
from pipelines.inference.layers import CLASSES, NODATA, PROBABILITIES, STEP, Layer, layers
from pipelines.inference.mosaic_grid import MosaicGrid, Placed, grid_of
from pipelines.inference.polygons import write_polygons
from pipelines.inference.provenance import Joining, here
from pipelines.inference.writer import MapWriter, alone_at
from pipelines.progress import report

_MEMORY = 500_000_000  # bytes of one band of rows
_EACH = 24  # bytes that a pixel takes for each class: sum, one map's values, and copies of those that have data
_SHARED = (
    "swath:project",
    "swath:model",
    "swath:model_version",
    "swath:model_sha256",
    "swath:dataset",
    "swath:commit",
    "swath:ensemble",
    "swath:ensemble_sha256",
)
PIN = "swath:probabilities"  # of a link to a map: checksum of what was taken from it


class Mosaicked(BaseModel):
    """What was made."""

    model_config = ConfigDict(frozen=True)

    maps: int
    crs: str
    shape: tuple[int, int]
    class_pixels: dict[str, int]


def mosaic(
    maps: Sequence[Path],
    target: Path,
    crs: str | None = None,
    resolution: float | None = None,
    also: Sequence[Also] = (),
    simplify: float = 0.0,
) -> Mosaicked:
    """Make the folder ``target`` from the folders ``maps``, made by one model with ``also: [probabilities]``.

    ``crs`` and ``resolution`` (in its units) default to those that most of the maps have; their pixels are then taken
    as they are; where two classes are as likely to a 250th, the first counts. Where maps overlap, probabilities are
    averaged. The folder appears whole or not at all. Raises
    ``BadData`` for maps of different models or without probabilities.
    """
    target = target.absolute()
    require_room(target, maps)
    items = [_item(folder) for folder in maps]
    classes = _classes(maps, items)
    grid, placed = grid_of(maps, crs, resolution)
    shown = layers(classes, also)
    made = Joining(**here(), crs=crs, resolution=resolution)
    with alone_at(target):
        return _made(placed, items, target, grid, classes, shown, also, simplify, made)


def _made(
    maps: Sequence[Placed],
    items: Sequence[pystac.Item],
    target: Path,
    grid: MosaicGrid,
    classes: Sequence[LabelClass],
    shown: Sequence[Layer],
    also: Sequence[Also],
    simplify: float,
    provenance: Joining,
) -> Mosaicked:
    work = target.parent / f".{target.name}.work"
    taken = [item.assets["probabilities"].extra_fields["file:checksum"] for item in items]
    key = [taken, grid.crs, list(grid.affine), provenance.software, str(provenance.code)]
    digest = hashlib.sha256(json.dumps([key, grid.width, grid.height, [one.file for one in shown]]).encode())
    writer = MapWriter(work, grid, shown, digest.hexdigest())
    rows = max(1, min(grid.height, _MEMORY // (_EACH * grid.width * len(classes))))
    for top in range(writer.rows, grid.height, rows):
        band = slice(top, min(top + rows, grid.height))
        writer.write(band, *_merged(maps, grid, band, len(classes)))
        report(band.stop, grid.height, f"rows of {target.name}")
    with replacing(target) as draft:
        draft.mkdir()
        told = {name: items[0].properties[name] for name in _SHARED if name in items[0].properties}
        class_pixels = writer.finish(draft, classes, tags(told))
        if "polygons" in also:
            write_polygons(draft / CLASSES, draft, classes, simplify)
        whens = sorted(when for item in items for when in _whens(item))
        item = map_item(draft, target.name, grid, whens[-1], shown, classes)
        item.common_metadata.start_datetime, item.common_metadata.end_datetime = whens[0], whens[-1]
        item.properties |= told
        item.properties |= {"title": f"Mosaic of {len(maps)} maps", "swath:class_pixels": class_pixels}
        item.properties |= provenance.properties() | {"swath:simplified": simplify}
        for place, one, checksum in zip(maps, items, taken, strict=True):
            href, kind = (place.folder / ITEM).resolve().as_posix(), pystac.MediaType.GEOJSON
            item.add_link(pystac.Link("derived_from", href, kind, f"Map {one.id}", {PIN: checksum}))
        write_json(draft / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))
    shutil.rmtree(work)
    return Mosaicked(maps=len(maps), crs=grid.crs, shape=(grid.height, grid.width), class_pixels=class_pixels)


def _item(folder: Path) -> pystac.Item:
    if not (folder / ITEM).is_file():
        raise BadData(f"{folder} is no map: it has no {ITEM}. Name folders that `swath predict` or the maps DAG made.")
    item = pystac.Item.from_dict(read_json(folder / ITEM))
    if "probabilities" not in item.assets:
        raise BadData(f"{folder} has no probabilities; map it again with `--also probabilities`, or predict.also.")
    return item


def _classes(maps: Sequence[Path], items: Sequence[pystac.Item]) -> tuple[LabelClass, ...]:
    if not items:
        raise BadData("A mosaic needs at least one map; name their folders.")
    models = {item.properties["swath:model_sha256"] for item in items}
    ensembles = {tuple(item.properties.get("swath:ensemble_sha256", ())) for item in items}
    if len(models) > 1 or len(ensembles) > 1:
        asked = [item.properties.get("swath:ensemble") or [item.properties["swath:model"]] for item in items]
        named = {" with ".join(several): folder for folder, several in zip(maps, asked, strict=True)}
        told = "; ".join(f"{folder} by {model}" for model, folder in named.items())
        raise BadData(f"The maps are of different models ({told}); map the scenes by one.")
    legend = items[0].assets["classes"].extra_fields["classification:classes"]
    return tuple(
        LabelClass(name=one["description"], value=one["value"], color=f"#{one['color_hint']}")
        for one in legend
        if not one.get("nodata")
    )


def _on(grid: MosaicGrid, source: rasterio.DatasetReader) -> WarpedVRT:
    return WarpedVRT(
        source,
        crs=grid.crs,
        transform=grid.affine,
        width=grid.width,
        height=grid.height,
        resampling=Resampling.bilinear,
        src_nodata=NODATA,
        nodata=NODATA,
        dtype="float32",
        tolerance=0.01,  # of a pixel, where GDAL interpolates between exactly projected points
        UNIFIED_SRC_NODATA="YES",
    )


def _merged(
    maps: Sequence[Placed], grid: MosaicGrid, rows: slice, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Mean probabilities ``(classes, rows, width)`` and mask ``(rows, width)``, 1 where no map has data.

    Only maps that lie in these rows are opened, for there may be more of them than a process may hold open.
    """
    total = np.zeros((classes, rows.stop - rows.start, grid.width), np.float32)
    count = np.zeros(total.shape[1:], np.uint16)
    for place in maps:
        top, bottom = max(rows.start, place.rows.start), min(rows.stop, place.rows.stop)
        if top >= bottom:
            continue
        window = Window(place.columns.start, top, place.columns.stop - place.columns.start, bottom - top)
        with rasterio.open(place.folder / PROBABILITIES) as source, _on(grid, source) as warped:
            pixels = warped.read(window=window)
        has = (pixels != NODATA).all(axis=0)
        here = np.s_[top - rows.start : bottom - rows.start, place.columns]
        total[:, *here][:, has] += pixels[:, has] * STEP
        count[here] += has
    total /= np.maximum(count, 1)
    return total, (count == 0).astype(np.uint8)


def _whens(item: pystac.Item) -> tuple[datetime, datetime]:
    """The first and the last, which are one but for what is itself a mosaic."""
    assert item.datetime is not None
    return item.common_metadata.start_datetime or item.datetime, item.datetime
