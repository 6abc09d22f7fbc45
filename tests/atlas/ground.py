"""A project whose pixels are known one by one: its scenes are tiles of the web map's own grid."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import LabelClass
from pipelines.files import write_json
from pipelines.inference.item import ITEM, map_item
from pipelines.inference.layers import layers
from pipelines.inference.writer import MapWriter
from pipelines.scenes.catalog import write_index, write_item
from pipelines.scenes.scene import Scene
from tests.builders import write_scene

PROJECT = "village"
CLASSES = [
    LabelClass(name="water", value=1, color="#0000ff"),
    LabelClass(name="wood", value=2, color="#00ff00"),
    LabelClass(name="house", value=3, color="#ff0000"),
]
BANDS = ("B02", "B03", "B04", "B08")

Z, X, Y, SIDE = 14, 8890, 9000, 256
_HALF = 20037508.342789244
PIXEL = 2 * _HALF / 2**Z / SIDE  # metres of EPSG:3857
ORIGIN = (X * SIDE * PIXEL - _HALF, _HALF - Y * SIDE * PIXEL)


def degrees(row: float, column: float) -> tuple[float, float]:
    """Longitude and latitude of the middle of a pixel of the tile ``Z/X/Y``."""
    x, y = ORIGIN[0] + (column + 0.5) * PIXEL, ORIGIN[1] - (row + 0.5) * PIXEL
    return x / _HALF * 180, float(np.degrees(2 * np.arctan(np.exp(y / _HALF * np.pi)) - np.pi / 2))


def publish_scene(
    home: Path,
    id: str,
    day: str,
    pixels: NDArray[np.uint16],
    mask: NDArray[np.uint8] | None = None,
    nodata: float | None = 0,
) -> Scene:
    """A scene ``(4, 256, 256)`` that covers the tile ``Z/X/Y`` and nothing else, in the catalog below ``home``."""
    catalog = home / "catalog" / PROJECT
    scene = write_scene(
        catalog,
        pixels,
        id=id,
        mask=mask,
        nodata=nodata,
        crs="EPSG:3857",
        origin=ORIGIN,
        pixel=PIXEL,
        when=datetime.fromisoformat(day).replace(hour=10, tzinfo=UTC),
        bands=BANDS,
    )
    write_item(catalog / "scenes" / id, scene, fingerprint=id, dated=True, bands=[])
    write_index(catalog, PROJECT)
    return scene


def publish_map(
    home: Path, scene: Scene, version: int, classes: NDArray[np.uint8], sure: float, mask: NDArray[np.uint8]
) -> None:
    """A map of ``scene`` that says ``classes`` ``(256, 256)``, as ``sure`` of each, where ``mask`` is 0."""
    folder = home / "predictions" / PROJECT / f"v{version}" / scene.id
    folder.mkdir(parents=True, exist_ok=True)
    others = (1 - sure) / (len(CLASSES) - 1)
    chances = np.full((len(CLASSES), *classes.shape), others, np.float32)
    np.put_along_axis(chances, classes[None].astype(np.int64), np.float32(sure), axis=0)
    shown = layers(CLASSES)
    writer = MapWriter(folder / ".work", scene, shown, "key")
    writer.write(slice(0, scene.height), chances, mask)
    writer.finish(folder, CLASSES)
    item = map_item(folder, scene.id, scene, scene.datetime, shown, CLASSES)
    item.properties |= {"swath:model": f"models:/{PROJECT}/{version}", "swath:model_version": version}
    write_json(folder / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))


def village(home: Path) -> None:
    """Two days of one place, mapped by versions 1 and 2.

    Water in the west, wood in the middle, houses in the east. On the second day a cloud lies over the north, and the
    south-west corner has no data. Version 2 takes the wood for houses.
    """
    columns = np.arange(SIDE)
    classes = np.broadcast_to(np.digitize(columns, (64, 192)).astype(np.uint8), (SIDE, SIDE))
    levels = np.array([1000, 2000, 3000], np.uint16)
    early = np.broadcast_to(levels[classes], (4, SIDE, SIDE)).copy()
    late = early + np.uint16(500)
    clear = np.zeros((SIDE, SIDE), np.uint8)
    mask = clear.copy()
    mask[:32] = 2
    mask[-32:, :32] = 1
    late[:, -32:, :32] = 0
    first = publish_scene(home, "early", "2024-05-01", early)
    second = publish_scene(home, "late", "2024-07-01", late, mask)
    for scene, hidden in ((first, clear), (second, mask)):
        publish_map(home, scene, 1, classes, 0.8, hidden)
        publish_map(home, scene, 2, np.where(classes == 1, np.uint8(2), classes), 0.6, hidden)
