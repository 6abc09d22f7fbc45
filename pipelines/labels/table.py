"""Labels of whole scenes: a table with one class a scene."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from pipelines.config.params import Labels
from pipelines.errors import BadData
from pipelines.files import replacing
from pipelines.scenes.scene import Scene

log = logging.getLogger(__name__)

TABLES = (".csv",)
FOLDERS = "folders"  # labels.source: the folder that a scene was found in is named like its class
UNLABELLED = 255
_COLUMNS = ["scene", "class"]
_PICTURES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".jp2", ".img")


class TableLabels:
    """A CSV with the columns ``scene`` (its id, or its file) and ``class`` (name or value; case does not count)."""

    def __init__(self, file: Path, labels: Labels) -> None:
        self.findings: list[str] = []
        self._file, self._labels = file, labels
        known = {c.name.casefold(): i for i, c in enumerate(labels.classes)}
        known |= {str(c.value): i for i, c in enumerate(labels.classes) if str(c.value) not in known}
        self._classes: dict[str, int] = {}
        strange: dict[str, int] = {}
        for scene, name in _rows(file):
            if (index := known.get(name.casefold())) is None:
                strange[name] = strange.get(name, 0) + 1
            elif self._classes.setdefault(scene, index) != index:
                raise BadData(f"{file.name} gives scene {scene} two classes; keep one.")
        self._by_file: dict[str, int] = {}
        for scene, index in self._classes.items():
            if self._by_file.setdefault(named := scene_id(scene), index) != index and named not in self._classes:
                raise BadData(f"{file.name} gives scene {named} two classes, by names of its file; keep one.")
        if strange:
            told = ", ".join(f"{name!r} ({count})" for name, count in sorted(strange.items())[:10])
            self.findings.append(f"{file.name}: scenes of {told} are left out, which are none of labels.classes.")

    def covers(self, scene: Scene) -> bool:
        matches = self._labels.match is None or fnmatchcase(scene.id, self._labels.match)
        return matches and self._class(scene) is not None

    def burn(self, scene: Scene, window: Window | None = None) -> NDArray[np.uint8]:
        """The scene's class index in every pixel ``(height, width)``, or 255."""
        height, width = (window.height, window.width) if window else (scene.height, scene.width)
        index = self._class(scene)
        return np.full((int(height), int(width)), UNLABELLED if index is None else index, np.uint8)

    def _class(self, scene: Scene) -> int | None:
        return self._classes.get(scene.id, self._by_file.get(scene.id))

    def files(self, scenes: list[Scene]) -> list[Path]:
        return [self._file]


def write_folder_classes(scenes: Iterable[Scene], labels: Labels, file: Path) -> None:
    """Write the table that the names of the scenes' folders make; case does not count. Scenes of other folders have no
    label and are told in the log, since they may wait to be mapped or lie in a folder whose name is misspelt."""
    known = {name.casefold() for c in labels.classes for name in (c.name, str(c.value))}
    found = sorted((scene.id, PurePosixPath(scene.source).parent.name) for scene in scenes)
    if others := Counter(name for _, name in found if name.casefold() not in known):
        told = ", ".join(f"{name} ({count})" for name, count in sorted(others.items())[:10])
        log.warning("Scenes in folders that are none of labels.classes have no label: %s", told)
    with replacing(file) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(_COLUMNS)
        table.writerows(row for row in found if row[1].casefold() in known and fnmatchcase(row[0], labels.match or "*"))


def scene_id(name: str) -> str:
    """The id of a scene that is named by itself or by its file; an id may have dots of its own."""
    name = PurePath(name).name
    ending = next((ending for ending in _PICTURES if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def read_table(file: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """The columns of a CSV, and its rows by column. Raises ``BadData`` where it is none."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            rows = list(table)
            return list(table.fieldnames or ()), rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{file} is no CSV in UTF-8 ({error}); export it again.") from error


def _rows(file: Path) -> list[tuple[str, str]]:
    columns, table = read_table(file)
    if not set(_COLUMNS) <= set(columns):
        raise BadData(f"{file} has the columns {columns}; a table of labels has {', '.join(_COLUMNS)}. Rename them.")
    rows = [(row["scene"], row["class"]) for row in table]
    if None in {value for row in rows for value in row}:
        raise BadData(f"{file} has a row that is cut short; each needs a scene and a class.")
    return [(str(scene).strip(), str(name).strip()) for scene, name in rows]
