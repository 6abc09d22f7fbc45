"""Labels of objects: boxes in pixels of their scenes, from a table or from Pascal VOC's files, and as arrays."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from defusedxml import ElementTree
from numpy.typing import NDArray
from rasterio.windows import Window

from pipelines.config.params import Labels
from pipelines.errors import BadData
from pipelines.labels.table import read_table, scene_id
from pipelines.scenes.scene import Scene

VOC = ".xml"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_Row = tuple[str, list[float], str]  # scene, corners and class; no corners where an image has no object
_SCENE, _CLASS = ("scene", "image_path"), ("class", "label")
UNLABELLED = 255
VISIBLE = 0.3  # share of an object that a scene or chip must show to be its object


class Boxes(NamedTuple):
    """Axis-aligned boxes in pixels of a scene or chip, corners at the edges of pixels."""

    corners: NDArray[np.float32]  # (n, 4): left, top, right, bottom
    classes: NDArray[np.uint8]  # (n,), index of the class, never the background's

    @property
    def areas(self) -> NDArray[np.float32]:
        """``(n,)``, pixels."""
        return _areas(self.corners)

    def within(
        self, left: int, top: int, width: int, height: int, least: float, whole: NDArray[np.float32] | None = None
    ) -> tuple[Boxes, NDArray[np.bool_]]:
        """Those of which the share ``least`` or more lies in a window, in its pixels and cut at its edges; and which
        these are ``(n,)``. ``whole`` are the areas of the objects ``(n,)`` where these boxes are cut already.
        """
        shift = np.array([left, top, left, top], np.float32)
        inside = np.clip(self.corners - shift, 0, np.array([width, height, width, height], np.float32))
        kept = _areas(inside) >= np.maximum(least * (self.areas if whole is None else whole), 1e-6)
        return Boxes(inside[kept], self.classes[kept]), kept


class BoxTable:
    """A CSV with a row a box: scene (or image_path), xmin, ymin, xmax, ymax, class (or label), as DeepForest writes
    it, with a row of the scene alone where there is none, or files of Pascal VOC, one a scene. Scenes that they name
    are labelled whole.
    """

    def __init__(self, files: list[Path], labels: Labels) -> None:
        self.findings: list[str] = []
        self._files, self._labels = files, labels
        named = files[0].name if len(files) == 1 else f"{len(files)} files of labels"
        if labels.background is None:
            raise BadData(f"{named} holds boxes, and ground without one needs a class: set labels.background.")
        self._background = [c.name for c in labels.classes].index(labels.background)
        known = {c.name.casefold(): i for i, c in enumerate(labels.classes)}
        known |= {str(c.value): i for i, c in enumerate(labels.classes)}
        strange: dict[str, int] = {}
        self._boxes: dict[str, list[tuple[list[float], int]]] = {}
        rows: list[_Row] = []
        for file in files:
            if file.suffix.lower() == VOC:
                scene, found = _annotated(file)
                self._boxes.setdefault(scene, [])  # a picture without objects is labelled too
                rows += found
            else:
                rows += _rows(file)
        written: dict[str, str] = {}
        for name_of_scene, corners, name in rows:
            scene = scene_id(name_of_scene)
            boxes = self._boxes.setdefault(scene, [])
            if (other := written.setdefault(scene, name_of_scene)) != name_of_scene:
                raise BadData(
                    f"{named} has boxes of {other} and of {name_of_scene}, which both are the scene {scene}; give the "
                    "images names that differ, folders aside, and ingest them by these."
                )
            if not corners:  # an image in which there is nothing
                continue
            if (index := known.get(name.casefold())) is None:
                strange[name] = strange.get(name, 0) + 1
            elif corners[2] <= corners[0] or corners[3] <= corners[1]:
                self.findings.append(f"{named}: a box of {scene} at {corners} has no area and is left out.")
            elif index != self._background:
                boxes.append((corners, index))
        if strange:
            told = ", ".join(f"{name!r} ({count})" for name, count in sorted(strange.items())[:10])
            self.findings.append(f"{named}: boxes of {told} are left out, which are none of labels.classes.")

    def covers(self, scene: Scene) -> bool:
        matches = self._labels.match is None or fnmatchcase(scene.id, self._labels.match)
        return matches and scene.id in self._boxes

    def boxes(self, scene: Scene) -> Boxes:
        """The boxes of which ``scene`` shows enough, in its pixels and cut at its border.

        The files' pixels are those of the source's image, of which a scene within ``scenes.area`` may be a part.
        """
        here = self._boxes.get(scene.id, [])
        corners = np.array([corners for corners, _ in here], np.float32).reshape(-1, 4)
        found = Boxes(corners, np.array([index for _, index in here], np.uint8))
        return found.within(*scene.corner, scene.width, scene.height, VISIBLE)[0]

    def burn(self, scene: Scene, window: Window | None = None) -> NDArray[np.uint8]:
        """Class indices ``(height, width)``: pixels whose centre lies in a box have its class, later boxes over earlier
        ones; 255 for a scene that the table lacks."""
        window = window or Window(0, 0, scene.width, scene.height)
        known = scene.id in self._boxes
        burned = np.full((int(window.height), int(window.width)), self._background if known else UNLABELLED, np.uint8)
        boxes = self.boxes(scene)
        shift = np.array([window.col_off, window.row_off] * 2)
        for corners, index in zip(boxes.corners - shift, boxes.classes, strict=True):
            left, top, right, bottom = np.maximum(np.ceil(corners - 0.5), 0).astype(int)
            burned[top:bottom, left:right] = index
        return burned

    def files(self, scenes: list[Scene]) -> list[Path]:
        return self._files


def holds_boxes(file: Path) -> bool:
    """Whether a CSV has the columns of a table of boxes."""
    return set(_CORNERS) <= set(read_table(file)[0])


def _rows(file: Path) -> list[_Row]:
    columns, table = read_table(file)
    scene = next((name for name in _SCENE if name in columns), None)
    kind = next((name for name in _CLASS if name in columns), None)
    if scene is None or kind is None:
        raise BadData(
            f"{file} has the columns {columns}; a table of boxes has {_SCENE[0]}, {', '.join(_CORNERS)} and "
            f"{_CLASS[0]}. Rename them."
        )
    try:
        return [(_text(row[scene]), _corners(row, kind), _text(row[kind])) for row in table]
    except ValueError as error:
        raise BadData(
            f"{file} has a row that is no box ({error}); correct it: each needs four numbers and a class."
        ) from error


def _corners(row: dict[str, str | None], kind: str) -> list[float]:
    if not any(row[column] for column in (*_CORNERS, kind)):
        return []
    return [_number(row[corner]) for corner in _CORNERS]


def _text(cell: str | None) -> str:
    if cell is None:
        raise ValueError("it is cut short")
    return cell.strip()


def _number(cell: str | None) -> float:
    if not math.isfinite(number := float(_text(cell))):
        raise ValueError(f"{cell} is no place")
    return number


def _annotated(file: Path) -> tuple[str, list[_Row]]:
    """A picture and its boxes as Pascal VOC writes them (Everingham et al. 2010)."""
    try:
        annotation = ElementTree.parse(file)
        scene = scene_id(annotation.findtext("filename") or file.stem)
        return scene, [
            (scene, [_number(one.findtext(f"bndbox/{c}")) for c in _CORNERS], (one.findtext("name") or "").strip())
            for one in annotation.iterfind("object")
        ]
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise BadData(f"{file} is no annotation of Pascal VOC ({error}); repair it or export it again.") from error


def _areas(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return found
