"""Web map tiles of scenes and maps, by rio-tiler, straight from their COGs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from math import ceil, floor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from morecantile import Tile, TileMatrixSet
from morecantile import tms as grids
from pyogrio.errors import DataSourceError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioIOError
from rasterio.warp import transform_bounds
from rio_tiler.colormap import cmap
from rio_tiler.errors import EmptyMosaicError, TileOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.models import ImageData
from rio_tiler.mosaic import mosaic_reader

from pipelines.atlas.composites import picture, stretch_of
from pipelines.atlas.layers import Atlas, spans
from pipelines.atlas.objects import drawn
from pipelines.atlas.truth import same_classes, truth_of
from pipelines.errors import BadData
from pipelines.scenes.scene import MaskBit, Scene

Kind = Literal["image", "classes", "confidence", "errors", "mask", "objects"]

GRID: TileMatrixSet = grids.get("WebMercatorQuad")
_CRS, _DEGREES = CRS.from_epsg(3857), CRS.from_epsg(4326)
RIGHT, WRONG = (27, 138, 107, 90), (214, 39, 40, 255)
CLOUD, SHADOW = (235, 235, 245, 220), (60, 60, 90, 200)

_PASSED_OVER = (
    TileOutsideBounds,
    RasterioIOError,
    CRSError,
    DataSourceError,
)  # what lies elsewhere, and a file that is being replaced or gone
_MOST = 60  # scenes that one tile is put together from when looking from far off: the newest
_FAR = 4  # as many scenes side by side in a tile
_FULL = 100  # percent
_SIDE = 256


def tile(
    atlas: Atlas,
    kind: Kind,
    x: int,
    y: int,
    z: int,
    *,
    until: date | None = None,
    scene: str | None = None,
    version: int | None = None,
    bands: Sequence[str] = (),
) -> bytes:
    """A PNG of 256 x 256 pixels: the newest scenes up to ``until`` on top, or ``scene`` alone; transparent elsewhere.

    ``version`` is needed for classes, confidence, errors and objects, three ``bands`` for images. Raises ``BadData``
    for a tile, version or band that does not exist, and for objects of a version that finds none.
    """
    if not (0 <= z <= GRID.maxzoom and 0 <= x < 2**z and 0 <= y < 2**z):
        raise BadData(f"There is no tile {z}/{x}/{y}.")
    if kind in ("classes", "confidence", "errors", "objects") and version not in atlas.maps:
        raise BadData(f"{atlas.project} has no maps by version {version}.")
    if kind == "objects" and version not in atlas.detectors:
        raise BadData(f"Version {version} of {atlas.project} detects no objects; it has the layer `classes`.")
    bounds = GRID.bounds(Tile(x, y, z))
    found = atlas.covering(
        (bounds.left, bounds.bottom, bounds.right, bounds.top), until=until, scene=scene, version=version
    )
    read, colours = _READERS[kind](atlas, version or 0, bands)
    if not found:
        return _EMPTY
    try:
        image, _ = mosaic_reader(
            _chosen(found, bounds.right - bounds.left), read, x, y, z, threads=1, allowed_exceptions=_PASSED_OVER
        )
    except EmptyMosaicError:
        return _EMPTY
    return bytes(image.render(img_format="PNG", colormap=colours, zlevel=1))


def _chosen(found: Sequence[Scene], width: float) -> Sequence[Scene]:
    """The newest for a tile of so many degrees; for a near one also older ones that reach beyond all of these."""
    chosen = list(found[:_MOST])
    across = sorted(sum(east - west for west, east in spans(scene.bbox)) for scene in found)[len(found) // 2]
    if width > _FAR * across:
        return chosen
    slack = width / _SIDE
    for scene in found[_MOST:]:
        west, south, east, north = scene.bbox
        if not any(
            w <= west + slack and s <= south + slack and e >= east - slack and n >= north - slack
            for w, s, e, n in (other.bbox for other in chosen)
        ):
            chosen.append(scene)
    return chosen


Read = Callable[..., ImageData]
Colours = dict[int, tuple[int, int, int, int]] | None


def _images(atlas: Atlas, version: int, bands: Sequence[str]) -> tuple[Read, Colours]:
    if len(bands) != 3:
        raise BadData(f"A picture takes three bands, not {', '.join(bands) or 'none'}.")
    stretch = stretch_of(atlas, bands)

    def read(scene: Scene, x: int, y: int, z: int) -> ImageData:
        names = [band.name for band in scene.bands]
        if not set(bands) <= set(names):
            raise TileOutsideBounds(f"Scene {scene.id} lacks one of {', '.join(bands)}")
        image = _read(scene.image_path(atlas.catalog), scene, x, y, z, tuple(names.index(name) + 1 for name in bands))
        masked = np.ma.getmaskarray(image.array)
        # Under the picture of a scene without data lies an older one; a band that is dark by chance is no hole.
        hole = masked.all(axis=0) if scene.dtype == "uint8" else masked.any(axis=0)
        if scene.nodata is None:  # then the image's own mask says nothing
            bits = _read(scene.mask_path(atlas.catalog), scene, x, y, z).array
            hole |= np.ma.getmaskarray(bits)[0] | ((bits.data[0] & MaskBit.NODATA) != 0)
        shown = picture(scene, image.array.data, bands, stretch)
        image.array = np.ma.MaskedArray(shown, mask=np.broadcast_to(hole, shown.shape))
        return image

    return read, None


def _classes(atlas: Atlas, version: int, bands: Sequence[str]) -> tuple[Read, Colours]:
    colours = {entry.value: _rgba(entry.color) for entry in atlas.legends[version]}
    return _map_reader(atlas, version, "classes.tif"), colours


def _confidence(atlas: Atlas, version: int, bands: Sequence[str]) -> tuple[Read, Colours]:
    ramp = cmap.get("viridis")
    colours = {percent: ramp[round(percent * 255 / _FULL)] for percent in range(_FULL + 1)}
    return _map_reader(atlas, version, "confidence.tif"), colours


def _errors(atlas: Atlas, version: int, bands: Sequence[str]) -> tuple[Read, Colours]:
    classes = _map_reader(atlas, version, "classes.tif")

    def read(scene: Scene, x: int, y: int, z: int) -> ImageData:
        labelled = truth_of(atlas, scene)
        if labelled is None:
            raise TileOutsideBounds(f"Scene {scene.id} has no labels")
        same_classes(labelled, atlas, version)
        truth = _read(labelled.file, scene, x, y, z)
        found = classes(scene, x, y, z)  # on the same grid, so both are drawn from the same pixels
        wrong = (found.array.data != truth.array.data).astype(np.uint8)
        mask = np.ma.getmaskarray(found.array) | np.ma.getmaskarray(truth.array)
        found.array = np.ma.MaskedArray(wrong, mask=mask)
        return found

    return read, {0: RIGHT, 1: WRONG}


def _masks(atlas: Atlas, version: int, bands: Sequence[str]) -> tuple[Read, Colours]:
    def read(scene: Scene, x: int, y: int, z: int) -> ImageData:
        image = _read(scene.mask_path(atlas.catalog), scene, x, y, z)
        bits = image.array.data & (MaskBit.CLOUD | MaskBit.SHADOW)
        nodata = np.ma.getmaskarray(image.array) | ((image.array.data & MaskBit.NODATA) != 0)
        image.array = np.ma.MaskedArray(bits.astype(np.uint8), mask=nodata)
        return image

    both = MaskBit.CLOUD | MaskBit.SHADOW
    return read, {0: (0, 0, 0, 0), int(MaskBit.CLOUD): CLOUD, int(MaskBit.SHADOW): SHADOW, int(both): CLOUD}


def _objects(atlas: Atlas, version: int, bands: Sequence[str]) -> tuple[Read, Colours]:
    classes = _map_reader(atlas, version, "classes.tif")

    def read(scene: Scene, x: int, y: int, z: int) -> ImageData:
        image = classes(scene, x, y, z)  # what it shows of the ground hides objects that an older scene shows there
        view, here = GRID.xy_bounds(Tile(x, y, z)), GRID.bounds(Tile(x, y, z))
        corner, step = (view.left, view.top), (view.right - view.left) / _SIDE
        outlines = np.zeros((_SIDE, _SIDE), np.uint8)
        for west, east in spans(scene.bbox):
            left, right = max(west, here.left), min(east, here.right)
            bottom, top = max(scene.bbox[1], here.bottom), min(scene.bbox[3], here.top)
            if left < right and bottom < top:
                part = left, bottom, right, top
                outlines = np.maximum(outlines, drawn(atlas, version, scene, part, _CRS, corner, step, _SIDE))
        mask = np.ma.getmaskarray(image.array) & (outlines == 0)
        image.array = np.ma.MaskedArray(outlines[None], mask=mask)
        return image

    return read, {entry.value: _rgba(entry.color) for entry in atlas.legends[version]} | {0: (0, 0, 0, 0)}


def _map_reader(atlas: Atlas, version: int, name: str) -> Read:
    def read(scene: Scene, x: int, y: int, z: int) -> ImageData:
        return _read(atlas.map_file(version, scene.id, name), scene, x, y, z)

    return read


_READERS: dict[str, Callable[[Atlas, int, Sequence[str]], tuple[Read, Colours]]] = {
    "image": _images,
    "classes": _classes,
    "confidence": _confidence,
    "errors": _errors,
    "mask": _masks,
    "objects": _objects,
}


def _read(path: Path, scene: Scene, x: int, y: int, z: int, indexes: tuple[int, ...] | None = None) -> ImageData:
    """The tile's pixels, of which no more are warped than the scene covers: seen from far off it is a few of them.

    rio-tiler's own ``tile`` warps the whole tile at the scene's resolution, which takes minutes from far off.
    """
    tile = GRID.xy_bounds(Tile(x, y, z))
    step = (tile.right - tile.left) / _SIDE
    whole: ImageData | None = None
    # A scene over the antimeridian lies at both ends of the map, and the tile that shows all of it too.
    for west, east in spans(scene.bbox):
        left, bottom, right, top = transform_bounds(_DEGREES, _CRS, west, scene.bbox[1], east, scene.bbox[3])
        first, last = max(0, floor((left - tile.left) / step)), min(_SIDE, ceil((right - tile.left) / step))
        upper, lower = max(0, floor((tile.top - top) / step)), min(_SIDE, ceil((tile.top - bottom) / step))
        if first >= last or upper >= lower:
            continue
        part = tile.left + first * step, tile.top - lower * step, tile.left + last * step, tile.top - upper * step
        size = {"width": last - first, "height": lower - upper}
        with Reader(str(path)) as source:
            found = source.part(part, dst_crs=_CRS, bounds_crs=_CRS, indexes=indexes, **size)
        whole = whole or ImageData(_blank(found.count, found.array.dtype), crs=_CRS, bounds=tuple(tile))
        whole.array[:, upper:lower, first:last] = found.array
    if whole is not None:
        return whole
    raise TileOutsideBounds(f"Scene {scene.id} does not touch the tile {z}/{x}/{y}")


def _rgba(color: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue, 255


def _blank(count: int, dtype: Any) -> np.ma.MaskedArray:
    """All masked, over zeros, for what lies under the mask goes into the PNG too."""
    return np.ma.MaskedArray(np.zeros((count, _SIDE, _SIDE), dtype), mask=True)


_EMPTY = bytes(ImageData(_blank(1, np.uint8)).render(img_format="PNG"))
