"""What a map says of itself: its STAC item, or the tags of a raster that has lost it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import rasterio
from rasterio.errors import RasterioError

from pipelines.errors import BadData
from pipelines.files import read_json, sha256
from pipelines.inference.item import ITEM, MODEL_NAME
from pipelines.inference.mosaic import PIN
from pipelines.inference.predict import PROFILE

State = Literal["as made", "changed", "not here"]
_SHA256 = "1220"  # before the digest in a multihash


@dataclass(frozen=True)
class Link:
    """Something that a map was made from, and where it was then."""

    href: str
    title: str
    pin: str | None = None  # checksum of the map's probabilities, of a link to a map


@dataclass(frozen=True)
class Record:
    """A map. ``item`` is ``False`` where only its raster's tags are left."""

    folder: Path
    id: str
    item: bool
    properties: dict[str, Any]
    files: dict[str, str]  # name: sha256 when it was made
    images: tuple[Link, ...]  # what was mapped: one scene or file, or the maps of a mosaic
    models: tuple[Link, ...]  # their MLM items
    aliases: dict[str, Path]  # files of the map that lie here under another name

    @property
    def mosaic(self) -> bool:
        return any(link.pin for link in self.images)

    def path(self, name: str) -> Path:
        """Where the file ``name`` of the map lies, if it is here."""
        return self.aliases.get(name, self.folder / name)

    def states(self) -> dict[str, State]:
        """Of each of the map's files."""
        return {name: _state(self.path(name), digest) for name, digest in sorted(self.files.items())}


def find(path: Path) -> Record:
    """The map that ``path`` is a file or the folder of. Raises ``BadData`` where it is none of swath's."""
    if not path.exists():
        raise BadData(f"{path} does not exist; name a file of a map, or its folder.")
    folder = path if path.is_dir() else path.parent
    if not (folder / ITEM).is_file():
        return _bare(path)
    try:
        item = read_json(folder / ITEM)
        files = {Path(one["href"]).name: one["file:checksum"].removeprefix(_SHA256) for one in item["assets"].values()}
        links = [link for link in item["links"] if link["rel"] == "derived_from"]
        properties = item["properties"]
        known = "swath:model_sha256" in properties
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise BadData(f"{folder / ITEM} is no item of a map that swath made; name another file.")
    return Record(
        folder=folder,
        id=item["id"],
        item=True,
        properties=properties,
        files=files,
        images=tuple(Link(one["href"], one.get("title", ""), one.get(PIN)) for one in links if MODEL_NAME not in one),
        models=tuple(Link(one["href"], one.get("title", "")) for one in links if MODEL_NAME in one),
        aliases=_aliases(path, files),
    )


def _aliases(path: Path, files: dict[str, str]) -> dict[str, Path]:
    beside = {ITEM, PROFILE, *files, *(f"{name}.aux.xml" for name in files)}
    if path.is_dir() or path.name in beside:
        return {}
    digest = sha256(path)
    if named := [name for name, made in files.items() if made == digest]:
        return {named[0]: path}
    raise BadData(f"{path} is not a file of the map that the {ITEM} beside it describes; copy its own item there.")


def _bare(path: Path) -> Record:
    """A raster that was copied without its item."""
    lost = f"{path} has no {ITEM} beside it"
    try:
        with rasterio.open(path) as source:
            tags = {name.lower().replace("_", ":", 1): text for name, text in source.tags().items()}
    except RasterioError:
        raise BadData(f"{lost} and is no raster; name a map, or copy the item of its folder too.") from None
    told: dict[str, Any] = {name: text for name, text in tags.items() if name.startswith("swath:")}
    if "swath:model_sha256" not in told:
        raise BadData(f"{lost}, and its tags name no model of swath; copy the item of its folder too.")
    return Record(path.parent, path.stem, False, told, {}, (), (), {})


def _state(path: Path, digest: str) -> State:
    if not path.is_file():
        return "not here"
    return "as made" if sha256(path) == digest else "changed"
