"""Objects of chips: a table beside the shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from pipelines.dataset.shards import ChipStore
from pipelines.errors import BadData
from pipelines.labels import LabelSource
from pipelines.labels.boxes import VISIBLE, Boxes
from pipelines.labels.source import boxes_of
from pipelines.scenes.scene import Scene

BOXES = "boxes.parquet"
_UNLABELLED = 255
_CORNERS = ["left", "top", "right", "bottom"]


def write_boxes(folder: Path, scenes: Mapping[str, Scene], source: LabelSource) -> int:
    """Write the objects of all chips in ``folder``, which has its shards and index; returns how many there are.

    Columns: chip (row of the index), class (index), left, top, right, bottom in pixels of the chip, and area (pixels)
    of the object as the scene shows it. It is cut at the chip's edges; less than ``VISIBLE`` of it, or one whose centre
    is masked, is left out. Raises ``BadData`` where the labels are no shapes or boxes.
    """
    store = ChipStore(folder)
    size = store.header.size
    parts = []
    for id, chips in store.index.groupby("scene_id", sort=True):
        objects = boxes_of(source, scenes[str(id)])
        tree = shapely.STRtree(shapely.box(*objects.corners.T))
        for row, column, top in zip(chips.index, chips["col"], chips["row"], strict=True):
            here = np.sort(tree.query(shapely.box(column, top, column + size, top + size)))
            near = Boxes(objects.corners[here], objects.classes[here])
            inside, shown = near.within(int(column), int(top), size, size, VISIBLE)
            seen = usable(inside, store.labels(int(row)))
            table = pd.DataFrame(inside.corners[seen], columns=_CORNERS).assign(area=near.areas[shown][seen])
            parts.append(table.assign(chip=np.int64(row), **{"class": inside.classes[seen]}))
    found = pd.concat(parts, ignore_index=True)[["chip", "class", *_CORNERS, "area"]]
    if found.empty:
        raise BadData("No chip shows an object; check that labels.source lies on the scenes, or choose larger chips.")
    found.sort_values("chip", kind="stable").to_parquet(folder / BOXES, index=False)
    return len(found)


class BoxStore:
    """Read access to the objects of chips."""

    def __init__(self, folder: Path) -> None:
        if not (path := Path(folder) / BOXES).exists():
            raise BadData(f"{path} is missing; run the chip stage again with task: detection.")
        table = pd.read_parquet(path)
        self._corners = table[_CORNERS].to_numpy(np.float32)
        self._classes = table["class"].to_numpy(np.uint8)
        self._areas = table["area"].to_numpy(np.float32)
        self._chips = table["chip"].to_numpy(np.int64)  # ascending

    def of(self, row: int) -> Boxes:
        """The objects of one chip."""
        here = self._rows(row)
        return Boxes(self._corners[here].copy(), self._classes[here])

    def areas(self, row: int) -> NDArray[np.float32]:
        """Pixels of the whole of each of these objects ``(n,)``, of which the chip may show a part."""
        areas: NDArray[np.float32] = self._areas[self._rows(row)]
        return areas

    def _rows(self, row: int) -> slice:
        return slice(*np.searchsorted(self._chips, [row, row + 1]))

    def sides(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """The longer side of each object of some chips, pixels."""
        corners = self._corners[np.isin(self._chips, rows)]
        found: NDArray[np.float32] = (corners[:, 2:] - corners[:, :2]).max(axis=1)
        return found


def usable(boxes: Boxes, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which boxes have a usable pixel at their centre; ``labels`` ``(h, w)`` are 255 where a chip is masked."""
    x, y = ((boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2).astype(int).T
    found: NDArray[np.bool_] = labels[y.clip(0, len(labels) - 1), x.clip(0, labels.shape[1] - 1)] != _UNLABELLED
    return found
