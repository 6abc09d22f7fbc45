"""Which scenes a project has, when and where, and which model versions have mapped them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.atlas.places import project_in
from pipelines.config import settings
from pipelines.depot import brought
from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.inference.versions import version_folders
from pipelines.scenes.catalog import read_scenes
from pipelines.scenes.scene import Band, Scene

Bounds = tuple[float, float, float, float]  # degrees: west, south, east, north; west > east over the antimeridian

_Index = tuple[int, int] | None  # when it was written, to the second in a store, and which file that is
_Versions = tuple[tuple[int, int], ...]  # number, and when a map of it last came or went


class Entry(BaseModel):
    """A class of a map: its value in the pixels, its name and its colour, ``#rrggbb``."""

    model_config = ConfigDict(frozen=True)

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class Atlas:
    """The scenes of a project, the newest first, and the maps of each model version, by scene id.

    Scenes come without ``geometry``, which is most of what they take of memory and nothing that a page draws.
    """

    project: str
    catalog: Path
    predictions: Path
    scenes: tuple[Scene, ...]
    maps: Mapping[int, frozenset[str]]
    legends: Mapping[int, tuple[Entry, ...]]
    detectors: frozenset[int]  # versions whose maps come with objects
    digest: str  # changes when a scene or a map does

    def scene(self, id: str) -> Scene:
        """Raises ``BadData`` if there is no scene ``id``."""
        found = next((scene for scene in self.scenes if scene.id == id), None)
        if found is None:
            raise BadData(f"{self.project} has no scene {id[:200]!r}.")
        return found

    def covering(
        self, bounds: Bounds, *, until: date | None = None, scene: str | None = None, version: int | None = None
    ) -> list[Scene]:
        """Scenes that touch ``bounds``, the newest first: up to a day, one of them alone, mapped by a version."""
        mapped = None if version is None else self.maps.get(version, frozenset())
        return [
            each
            for each in self.scenes
            if (until is None or each.datetime.date() <= until)
            and (scene is None or each.id == scene)
            and (mapped is None or each.id in mapped)
            and touch(each.bbox, bounds)
        ]

    def map_file(self, version: int, scene: str, name: str) -> Path:
        """``name`` of the map of ``scene`` by ``version``. Raises ``BadData`` if that version has not mapped it."""
        if scene not in self.maps.get(version, frozenset()):
            raise BadData(f"Version {version} has no map of scene {scene[:200]!r}.")
        return brought(self.predictions / f"v{version}" / scene / name)


def open_atlas(project: str) -> Atlas:
    """The atlas of ``project`` as it is now; read again only where something changed."""
    here = settings()
    return _atlas(project, *_state(project_in(here.catalog, project), project_in(here.predictions, project)))


def touch(one: Bounds, other: Bounds) -> bool:
    """Whether two boxes share ground, either of which may span the antimeridian."""
    if one[1] > other[3] or other[1] > one[3]:
        return False
    return any(a <= d and c <= b for a, b in spans(one) for c, d in spans(other))


def spans(bounds: Bounds) -> list[tuple[float, float]]:
    """West and east of a box, or of its two halves where it spans the antimeridian."""
    west, _, east, _ = bounds
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


@lru_cache(maxsize=4)
def _atlas(
    project: str, catalog: Path, predictions: Path, index: _Index, versions: tuple[tuple[int, int], ...]
) -> Atlas:
    scenes = _scenes(catalog, index)
    known = {scene.id for scene in scenes}
    maps, legends, detectors = {}, {}, set()
    for number, changed in versions:
        if found := _mapped(predictions / f"v{number}", changed) & known:
            maps[number] = found
            assets = read_json(predictions / f"v{number}" / min(found) / "item.json")["assets"]
            legends[number] = _legend(assets["classes"]["classification:classes"])
            if "objects" in assets:
                detectors.add(number)
    text = f"{[scene.image_sha256 for scene in scenes]} {index} {versions}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Atlas(project, catalog, predictions, scenes, maps, legends, frozenset(detectors), digest)


@lru_cache(maxsize=4)
def _scenes(catalog: Path, index: _Index) -> tuple[Scene, ...]:
    """Read anew when the catalog changes, and not for each map that is made of its scenes meanwhile."""
    bands: dict[tuple[Band, ...], tuple[Band, ...]] = {}  # the same for most scenes, and kept once
    listed = read_scenes(catalog)
    scenes = [
        scene.model_copy(update={"geometry": {}, "bands": bands.setdefault(scene.bands, scene.bands)})
        for scene in listed.readable()
    ]
    if not scenes:
        list(listed)  # says why, where there are some and none can be read
    return tuple(sorted(scenes, key=lambda scene: (scene.datetime, scene.id), reverse=True))


@lru_cache(maxsize=16)
def _mapped(folder: Path, changed: int) -> frozenset[str]:
    return frozenset(item.parent.name for item in folder.glob("*/item.json"))


def _state(catalog: Path, predictions: Path) -> tuple[Path, Path, _Index, _Versions]:
    index = catalog / "catalog.json"
    numbers = [  # the time of a folder changes when a map comes, goes or is made again
        (number, folder.stat().st_mtime_ns) for number, folder in version_folders(predictions)
    ]
    written = index.stat() if index.exists() else None
    changed = (written.st_mtime_ns, written.st_ino) if written else None
    return catalog, predictions, changed, tuple(numbers)


def _legend(classes: Sequence[Mapping[str, Any]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(value=one["value"], name=one["description"], color=f"#{one['color_hint'].lower()}")
        for one in classes
        if not one.get("nodata")
    )
