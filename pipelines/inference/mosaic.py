"""One map from many: probabilities warped onto one grid and averaged, then the likeliest class.

Classes cannot be warped but by nearest neighbour, which doubles and drops pixels along borders; probabilities can.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from pipelines.config.params import Also, LabelClass
from pipelines.errors import BadData
from pipelines.files import read_json, replacing, write_json
from pipelines.inference.item import ITEM, map_item, tags
from pipelines.inference.layers import CLASSES, NODATA, PROBABILITIES, STEP, Layer, layers
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


@dataclass(frozen=True)
class MosaicGrid:
    """The pixels of a mosaic."""

    crs: str
    affine: Affine
    width: int
    height: int


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
    as they are. Where maps overlap, probabilities are averaged. The folder appears whole or not at all. Raises
    ``BadData`` for maps of different models or without probabilities.
    """
    items = [_item(folder) for folder in maps]
    classes = _classes(maps, items)
    grid = _grid(maps, crs, resolution)
    shown = layers(classes, also)
    made = Joining(**here(), crs=crs, resolution=resolution)
    with alone_at(target):
        return _made(maps, items, target, grid, classes, shown, also, simplify, made)


def _made(
    maps: Sequence[Path],
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
    key = [taken, grid.crs, list(grid.affine)]
    digest = hashlib.sha256(json.dumps([key, grid.width, grid.height, [one.file for one in shown]]).encode())
    writer = MapWriter(work, grid, shown, digest.hexdigest())
    rows = max(1, min(grid.height, _MEMORY // (_EACH * grid.width * len(classes))))
    with ExitStack() as opened:
        sources = [opened.enter_context(rasterio.open(folder / PROBABILITIES)) for folder in maps]
        warped = [opened.enter_context(_on(grid, source)) for source in sources]
        for top in range(writer.rows, grid.height, rows):
            band = slice(top, min(top + rows, grid.height))
            writer.write(band, *_merged(warped, band, grid.width, len(classes)))
            report(band.stop, grid.height, f"rows of {target.name}")
    with replacing(target) as draft:
        draft.mkdir()
        told = {name: items[0].properties[name] for name in _SHARED if name in items[0].properties}
        class_pixels = writer.finish(draft, classes, tags(told))
        if "polygons" in also:
            write_polygons(draft / CLASSES, draft, classes, simplify)
        whens = sorted(_when(item) for item in items)
        item = map_item(draft, target.name, grid, whens[-1], shown, classes)
        item.common_metadata.start_datetime, item.common_metadata.end_datetime = whens[0], whens[-1]
        item.properties |= told
        item.properties |= {"title": f"Mosaic of {len(maps)} maps", "swath:class_pixels": class_pixels}
        item.properties |= provenance.properties() | {"swath:simplified": simplify}
        for folder, one, checksum in zip(maps, items, taken, strict=True):
            href, kind = (folder / ITEM).resolve().as_posix(), pystac.MediaType.GEOJSON
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
        LabelClass(name=one["name"], value=one["value"], color=f"#{one['color_hint']}")
        for one in legend
        if not one.get("nodata")
    )


def _grid(maps: Sequence[Path], crs: str | None, resolution: float | None) -> MosaicGrid:
    """Over all maps; on the pixels of the first of those that have the grid's CRS and resolution."""
    sources = []
    for folder in maps:
        with rasterio.open(folder / PROBABILITIES) as source:
            sources.append((source.crs, source.transform, source.bounds))
    try:
        chosen = CRS.from_user_input(crs) if crs else Counter(c for c, _, _ in sources).most_common(1)[0][0]
    except CRSError as error:
        raise BadData(f"{crs!r} is no CRS ({error}); give one such as EPSG:32633.") from None
    own = [transform for c, transform, _ in sources if c == chosen]
    if resolution is None and not own:
        raise BadData(f"No map is in {chosen}, so its pixel size is not known; give --resolution in its units.")
    size = (resolution, -resolution) if resolution else Counter((t.a, t.e) for t in own).most_common(1)[0][0]
    like = next((t for t in own if (t.a, t.e) == size), Affine(size[0], 0, 0, 0, size[1], 0))
    boxes = [transform_bounds(c, chosen, *bounds, densify_pts=21) for c, _, bounds in sources]
    if not np.isfinite(boxes).all():
        raise BadData(f"Not all maps have a place in {chosen}; choose a CRS that covers them all.")
    if chosen.is_geographic and any(box[0] > box[2] for box in boxes):
        raise BadData("A mosaic in degrees cannot span the antimeridian; give a projected CRS of the place with --crs.")
    sides = np.array(boxes)
    (west, south), (east, north) = sides[:, :2].min(axis=0), sides[:, 2:].max(axis=0)
    column, row = ~like @ (west, north)
    last_column, last_row = ~like @ (east, south)
    column, row = int(np.floor(column + 1e-6)), int(np.floor(row + 1e-6))
    width, height = int(np.ceil(last_column - 1e-6)) - column, int(np.ceil(last_row - 1e-6)) - row
    code = chosen.to_epsg()
    return MosaicGrid(
        f"EPSG:{code}" if code else chosen.to_wkt(), like @ Affine.translation(column, row), width, height
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
    sources: Sequence[WarpedVRT], rows: slice, width: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Mean probabilities ``(classes, rows, width)`` and mask ``(rows, width)``, 1 where no map has data."""
    window = Window(0, rows.start, width, rows.stop - rows.start)
    total = np.zeros((classes, rows.stop - rows.start, width), np.float32)
    count = np.zeros(total.shape[1:], np.uint16)
    for source in sources:
        pixels = source.read(window=window)
        has = (pixels != NODATA).all(axis=0)
        total[:, has] += pixels[:, has] * STEP
        count += has
    total /= np.maximum(count, 1)
    return total, (count == 0).astype(np.uint8)


def _when(item: pystac.Item) -> datetime:
    assert item.datetime is not None
    return item.datetime
