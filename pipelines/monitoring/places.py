"""The labelling queue: the places of odd scenes whose labels would teach most, as outlines and as image chips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import transform, transform_geom
from rasterio.windows import Window, bounds
from shapely.geometry import box, mapping

from pipelines.files import replacing, write_json
from pipelines.inference.raster import Raster
from pipelines.monitoring.features import UNUSABLE
from pipelines.monitoring.worth import choose, look_of

QUEUE, CHIPS = "places.geojson", "places"
MOST = 20


@dataclass(frozen=True)
class Place:
    """A square of a scene: its window in pixels, what the map's confidence lacks to 1 there, and its look."""

    raster: Raster
    window: Window
    doubt: float
    look: NDArray[np.float32]


def places_of(raster: Raster, confidence: Path, side: int) -> Iterator[Place]:
    """All places of ``side`` pixels, side by side, at which at least half is mapped.

    ``confidence`` is the map's COG on the grid of ``raster``. Rows of places are read one after the other, so memory
    is bounded whatever the scene's height.
    """
    with raster.open() as source, rasterio.open(confidence) as sure:
        scale, offset = sure.scales[0], sure.offsets[0]
        for top in _starts(source.height, side):
            rows = slice(top, min(top + side, source.height))
            pixels, mask = source.read(rows)
            band = Window(0, top, source.width, rows.stop - top)
            mapped = (sure.read_masks(1, window=band) > 0) & ((mask & UNUSABLE) == 0)
            doubts = 1 - (sure.read(1, window=band).astype(np.float32) * scale + offset)
            for left in _starts(source.width, side):
                cols = slice(left, min(left + side, source.width))
                seen = mapped[:, cols]
                if seen.mean() >= 0.5:
                    yield Place(
                        raster,
                        Window(left, top, cols.stop - left, rows.stop - top),
                        float(doubts[:, cols][seen].mean()),
                        look_of(pixels[:, :, cols], seen),
                    )


def worth_labelling(places: Iterable[Place], known: NDArray[np.float32], most: int = MOST) -> list[Place]:
    """At most ``most`` of ``places``, the one most worth labelling first; ``known`` are looks of training ground."""
    found = list(places)
    if not found:
        return []
    looks, doubt = np.stack([place.look for place in found]), np.array([place.doubt for place in found])
    return [found[number] for number in choose(doubt, looks, known, most)]


def write_queue(folder: Path, places: Iterable[Place]) -> dict[str, Any]:
    """Write ``places.geojson``, outlines in degrees, and beside it ``places/``, a GeoTIFF of each place with the bands
    and values of its scene; returns the GeoJSON."""
    features = []
    with replacing(folder / CHIPS) as draft:
        draft.mkdir()
        for number, place in enumerate(places, 1):
            name = f"{number:02d}-{place.raster.id}.tif"
            _write_chip(draft / name, place)
            properties = {
                "number": number,
                "scene": place.raster.id,
                **dict(zip(("longitude", "latitude"), _corner(place), strict=True)),
                "confidence": round(1 - place.doubt, 4),
                "chip": f"{CHIPS}/{name}",
            }
            features.append({"type": "Feature", "geometry": _outline(place), "properties": properties})
    queue = {"type": "FeatureCollection", "features": features}
    write_json(folder / QUEUE, queue)
    return queue


def _starts(length: int, side: int) -> list[int]:
    """Where places begin along an axis; the last ends with it, and overlaps the one before if need be."""
    count = -(-length // side)
    return [round(start) for start in np.linspace(0, max(length - side, 0), count)]


def _outline(place: Place) -> dict[str, Any]:
    square = mapping(box(*bounds(place.window, place.raster.affine)))
    return dict(transform_geom(place.raster.crs, "EPSG:4326", square, precision=6))


def _corner(place: Place) -> tuple[float, float]:
    """Longitude and latitude of the upper left corner; an outline may be cut at the antimeridian into several."""
    x, y = place.raster.affine * (place.window.col_off, place.window.row_off)
    (longitude,), (latitude,) = transform(place.raster.crs, "EPSG:4326", [x], [y])
    return round(longitude, 6), round(latitude, 6)


def _write_chip(path: Path, place: Place) -> None:
    with rasterio.open(place.raster.image) as image:
        profile = {name: image.profile[name] for name in ("count", "dtype", "crs", "nodata")}
        profile |= {"width": place.window.width, "height": place.window.height, "compress": "deflate"}
        profile |= {"transform": image.window_transform(place.window), "driver": "GTiff"}
        with rasterio.open(path, "w", **profile) as chip:
            chip.write(image.read(window=place.window))
            chip.descriptions, chip.scales, chip.offsets = image.descriptions, image.scales, image.offsets
            chip.colorinterp = image.colorinterp
