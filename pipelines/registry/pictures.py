"""Pictures for whoever is asked to stand by a promotion: test blocks as they are, as labelled and as mapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw
from pydantic import BaseModel, ConfigDict
from rasterio.windows import Window

from pipelines.bundle.store import Bundle
from pipelines.config.params import LabelClass
from pipelines.evaluation.ground import Ground
from pipelines.evaluation.metrics import IGNORE, Counts
from pipelines.evaluation.stitching import Stitcher
from pipelines.inference.raster import RasterSource, in_bands
from pipelines.inference.runtime import Runtime
from pipelines.monitoring.pictures import stretched, visible
from pipelines.scenes.scene import Scene

LEGEND = "legend.png"
_SIDE = 300  # pixels: Airflow shows a picture no wider


class Shown(BaseModel):
    """A test block that there are pictures of; ``panels`` are names of files without ``.png``."""

    model_config = ConfigDict(frozen=True)

    rank: Literal["worst", "median"]  # of the challenger's blocks, by mIoU
    block: str
    scene: str
    miou: float  # of the challenger there
    panels: tuple[str, ...]


@dataclass(frozen=True)
class Crop:
    """A window of a scene as a source of its own."""

    source: RasterSource
    window: Window

    @property
    def bands(self) -> int:
        return self.source.bands

    @property
    def height(self) -> int:
        return int(self.window.height)

    @property
    def width(self) -> int:
        return int(self.window.width)

    def read(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        top = self.window.row_off + rows.start
        return self.source.block(Window(self.window.col_off, top, self.width, rows.stop - rows.start))


def choose(
    frame: pd.DataFrame, classes: int, miou: Callable[[Counts], NDArray[np.float64]]
) -> list[tuple[Literal["worst", "median"], str, str, float]]:
    """The worst and the median block of block scores: rank, block, scene and mIoU; fewer where there are fewer."""
    counts = np.stack(list(frame["confusion"])).reshape(-1, classes, classes)
    scores = pd.Series(np.asarray(miou(counts)), frame.index).dropna().sort_values(kind="stable")
    places: dict[int, Literal["worst", "median"]] = {len(scores) // 2: "median", 0: "worst"} if len(scores) else {}
    found = [(rank, scores.index[at], float(scores.iloc[at])) for at, rank in sorted(places.items())]
    return [(rank, frame.at[i, "block_id"], frame.at[i, "scene_id"], round(value, 4)) for rank, i, value in found]


def draw(
    folder: Path, rank: str, ground: Ground, catalog: Path, models: dict[str, Bundle], classes: Sequence[LabelClass]
) -> tuple[str, ...]:
    """Write the image, the labels and a map by each of ``models`` for the ground of one block; returns their names."""
    chips = ground.chips
    rows = slice(int(chips["row"].min()), int((chips["row"] + chips["size"]).max()))
    columns = slice(int(chips["col"].min()), int((chips["col"] + chips["size"]).max()))
    truth = ground.truth[rows, columns]
    table = np.zeros((256, 4), np.uint8)
    for index, one in enumerate(classes):
        table[index] = ImageColor.getcolor(one.color, "RGBA")
    image, hidden = shaded(ground.scene, catalog, rows, columns)
    pictures = {"image": image, "labels": table[truth]}
    for name, bundle in models.items():
        pictures[name] = table[np.where(hidden, IGNORE, _mapped(bundle, ground, catalog, rows, columns))]
    for name, picture in pictures.items():
        enlarged(Image.fromarray(picture))[0].save(folder / f"{rank}-{name}.png")
    return tuple(f"{rank}-{name}" for name in pictures)


def shaded(scene: Scene, catalog: Path, rows: slice, columns: slice) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A window of a scene as people see it, ``(height, width, 4)``, and which of its pixels are masked."""
    names = [band.name for band in scene.bands]
    trio = [names[index - 1] for index in visible(names, len(names))]
    with in_bands(scene, catalog, trio).open() as source:
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        pixels, mask = source.block(window)
    hidden = mask != 0
    shades = np.stack([stretched(np.ma.asarray(channel), hidden) for channel in pixels])
    shades = shades if len(shades) == 3 else shades[[0, 0, 0]]
    solid = np.where(np.isfinite(pixels).all(axis=0), 255, 0).astype(np.uint8)
    return np.dstack([*shades, solid]), hidden


def enlarged(picture: Image.Image) -> tuple[Image.Image, int]:
    """At a whole multiple of its size, which is returned too, about as wide as Airflow shows it; nothing is blurred."""
    factor = max(1, _SIDE // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST), factor


def draw_legend(path: Path, classes: Sequence[LabelClass]) -> None:
    """Colours and names of ``classes``, one below the other."""
    line = 18
    picture = Image.new("RGBA", (_SIDE, line * len(classes) + 4), "white")
    pen = ImageDraw.Draw(picture)
    for index, one in enumerate(classes):
        top = 3 + line * index
        pen.rectangle((4, top, 26, top + line - 5), fill=one.color, outline="grey")
        pen.text((34, top), one.name, fill="black")
    picture.save(path)


def _mapped(bundle: Bundle, ground: Ground, catalog: Path, rows: slice, columns: slice) -> NDArray[np.uint8]:
    """Classes of a block, mapped with as much of the scene around it as a window sees."""
    contract, scene = bundle.contract, ground.scene
    margin = contract.window
    top, left = max(rows.start - margin, 0), max(columns.start - margin, 0)
    bottom, right = min(rows.stop + margin, scene.height), min(columns.stop + margin, scene.width)
    runtime = Runtime(bundle, precision="f32")
    windows = contract.window, contract.overlap
    stitch = Stitcher(runtime, len(contract.classes), contract.means, *windows, contract.task, runtime.calls)
    found = np.zeros((bottom - top, right - left), np.uint8)
    with in_bands(scene, catalog, contract.band_names).open() as source:
        for band in stitch(Crop(source, Window(left, top, right - left, bottom - top))):
            found[band.rows] = band.probabilities.argmax(axis=0)
    return found[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
