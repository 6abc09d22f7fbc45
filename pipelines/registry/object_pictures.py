"""The same pictures where objects are found: the image as it is, with the true ones, and with those of each model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.windows import Window

from pipelines.bundle.store import Bundle
from pipelines.config.params import LabelClass
from pipelines.evaluation.objects import Truth
from pipelines.inference.detect import detected
from pipelines.inference.raster import in_bands
from pipelines.inference.runtime import Runtime
from pipelines.inference.windows import axes
from pipelines.registry.pictures import Crop, enlarged, shaded
from pipelines.training.objects import Objects

Corners = NDArray[np.float32]  # (n, 4): left, top, right, bottom in pixels of the scene
_BATCH = 8


def draw_objects(
    folder: Path,
    rank: str,
    truth: Truth,
    block: str,
    catalog: Path,
    models: dict[str, Bundle],
    classes: Sequence[LabelClass],
) -> tuple[str, ...]:
    """Write the pictures of one block; returns their names, as ``pictures.draw`` does."""
    chips = truth.chips[truth.chips["block_id"] == block]
    rows = slice(int(chips["row"].min()), int((chips["row"] + chips["size"]).max()))
    columns = slice(int(chips["col"].min()), int((chips["col"] + chips["size"]).max()))
    image, _ = shaded(truth.scene, catalog, rows, columns)
    boxes = {"image": (np.empty((0, 4), np.float32), np.empty(0, np.uint8))}
    boxes["labels"] = truth.boxes.corners, truth.boxes.classes
    for name, bundle in models.items():
        found = _found(bundle, truth, catalog, rows, columns)
        boxes[name] = found.boxes, found.classes
    for name, (corners, indices) in boxes.items():
        picture, factor = enlarged(Image.fromarray(image))
        pen = ImageDraw.Draw(picture)
        placed = (corners - [columns.start, rows.start, columns.start, rows.start]) * factor
        for (left, top, right, bottom), index in zip(placed.tolist(), indices, strict=True):
            corner = max(right - 1, left), max(bottom - 1, top)  # of a box of less than a pixel too
            pen.rectangle((left, top, *corner), outline=classes[int(index)].color, width=2)
        picture.save(folder / f"{rank}-{name}.png")
    return tuple(f"{rank}-{name}" for name in boxes)


def _found(bundle: Bundle, truth: Truth, catalog: Path, rows: slice, columns: slice) -> Objects:
    """Objects above the model's threshold, searched with as much of the scene around the block as a window sees."""
    contract, scene = bundle.contract, truth.scene
    top, left = max(rows.start - contract.window, 0), max(columns.start - contract.window, 0)
    bottom, right = min(rows.stop + contract.window, scene.height), min(columns.stop + contract.window, scene.width)
    runtime = Runtime(bundle, precision="f32")
    with in_bands(scene, catalog, contract.band_names).open() as source:
        crop = Crop(source, Window(left, top, right - left, bottom - top))
        down, across = axes(crop.height, crop.width, contract.window, contract.overlap, contract.task)
        found = detected(
            crop, runtime, fill=contract.means, down=down, across=across, batch=_BATCH, calls=runtime.calls
        )
    sure = found[found.scores >= contract.threshold]
    return Objects(sure.boxes + np.array([left, top, left, top], np.float32), sure.scores, sure.classes, sure.cut)
