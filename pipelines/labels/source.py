"""Labels from wherever they come, on a scene's exact grid."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rasterio.windows import Window

from pipelines.config.params import Labels
from pipelines.errors import BadData
from pipelines.files import named
from pipelines.labels.boxes import VOC, Boxes, BoxTable, holds_boxes
from pipelines.labels.raster import RASTERS, RasterLabels
from pipelines.labels.table import TABLES, TableLabels
from pipelines.labels.vector import VECTORS, VectorLabels
from pipelines.scenes.scene import Scene


class LabelSource(Protocol):
    """Labels of many scenes."""

    @property
    def findings(self) -> list[str]:
        """Sentences about what was repaired or left out."""

    def covers(self, scene: Scene) -> bool:
        """Whether there may be labels for ``scene``; a cheap test, before any pixel is read."""

    def burn(self, scene: Scene, window: Window | None = None) -> NDArray[np.uint8]:
        """Class indices ``(height, width)`` of the window, or of the whole scene; 255 is unlabelled."""

    def files(self, scenes: list[Scene]) -> list[Path]:
        """The files that hold the labels of ``scenes``."""


def open_labels(place: Path, labels: Labels) -> LabelSource:
    """Labels in a vector file, in a folder of vector files, in a folder of rasters named like their scenes, in files of
    Pascal VOC, or in a table of scenes with their classes or boxes.

    Wildcards in ``place`` stand for several folders. Raises ``BadData`` if it is none of these.
    """
    if place.is_file() and place.suffix.lower() in VECTORS:
        return VectorLabels([place], labels)
    if place.is_file() and place.suffix.lower() in TABLES:
        return _table(place, labels)
    if annotations := [path for path in named(place)[1] if path.is_file() and path.suffix.lower() == VOC]:
        return BoxTable(annotations, labels)
    if folders := [path for path in named(place)[1] if path.is_dir()]:
        files = sorted(f for folder in folders for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
        vectors = [f for f in files if f.suffix.lower() in VECTORS and not _holds_blocks(f)]
        rasters = [f for f in files if f.suffix.lower() in RASTERS]
        if vectors and rasters:
            raise BadData(f"{place} holds both vector files and rasters; keep one kind of labels in it.")
        if vectors:
            return VectorLabels(vectors, labels)
        if len(tables := [f for f in files if f.suffix.lower() in TABLES]) == 1 and not rasters:
            return _table(tables[0], labels)
        if (annotations := [f for f in files if f.suffix.lower() == VOC]) and not rasters:
            return BoxTable(annotations, labels)
        if rasters:
            return RasterLabels(rasters, labels)
    raise BadData(
        f"labels.source {place} is neither a vector file ({' '.join(VECTORS)}), nor a folder with such files or with "
        f"rasters ({' '.join(RASTERS)}) named like their scenes, nor a CSV of scenes and classes or boxes, nor files "
        "of Pascal VOC; correct it in params.yaml, or run `dvc pull`."
    )


def _holds_blocks(file: Path) -> bool:
    """Whether these are the blocks of a dataset, which `split.keep` may name and people keep beside their labels."""
    try:
        return file.suffix.lower() == ".parquet" and {"block_id", "split"} <= set(pq.read_schema(file).names)
    except (OSError, pa.ArrowException):  # whoever reads it says what is wrong
        return False


def boxes_of(source: LabelSource, scene: Scene) -> Boxes:
    """The objects of ``scene``. Raises ``BadData`` if its labels are not drawn as shapes or boxes."""
    if not isinstance(source, VectorLabels | BoxTable):
        raise BadData(
            "Objects are found by boxes, so labels.source must be a vector file, a CSV of boxes or files of Pascal VOC"
            "; correct it in params.yaml."
        )
    return source.boxes(scene)


def _table(file: Path, labels: Labels) -> LabelSource:
    return BoxTable([file], labels) if holds_boxes(file) else TableLabels(file, labels)


def burn(scene: Scene, labels_dir: Path, labels: Labels, window: Window | None = None) -> NDArray[np.uint8]:
    """Class index ``(height, width)`` uint8 on the scene's exact grid, 255 where unlabelled.

    Indices follow the order of ``labels.classes``. Raises ``BadData`` if the labels do not fit the scene.
    """
    return open_labels(labels_dir, labels).burn(scene, window)
