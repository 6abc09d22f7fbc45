"""The local STAC catalog: ``catalog.json`` lists the scenes, each in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pystac
from pydantic import ValidationError

from pipelines.errors import BadData
from pipelines.files import read_json, sha256, write_json
from pipelines.lineage.run import airflow_run
from pipelines.scenes.candidate import safe_id
from pipelines.scenes.scene import Scene

log = logging.getLogger(__name__)

_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
]
_BROKEN = (OSError, ValueError, KeyError, ValidationError)
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


class ListedScenes(Collection[Scene]):
    """The scenes that ``catalog.json`` lists, by id; none if there is no catalog yet.

    Each is read when its turn comes and not kept, so that memory holds no catalog, however large. Raises ``BadData`` in
    passing one that cannot be read.
    """

    def __init__(self, catalog: Path) -> None:
        index = Path(catalog) / "catalog.json"
        links = read_json(index)["links"] if index.exists() else []
        hrefs = [PurePosixPath(link["href"]) for link in links if link["rel"] == "item"]
        self._paths = {href.stem: Path(catalog) / href for href in sorted(hrefs, key=lambda href: href.stem)}

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Scene]:
        return map(_scene, self._paths.values())

    def readable(self) -> Iterator[Scene]:
        """The scenes without those that cannot be read."""
        for path in self._paths.values():
            try:
                yield _scene(path)
            except BadData as error:
                log.warning("%s", error)

    def __contains__(self, scene: object) -> bool:
        return any(scene == listed for listed in self)


def read_scenes(catalog: Path) -> ListedScenes:
    """All scenes that ``catalog.json`` lists, by id; none if there is no catalog yet."""
    return ListedScenes(catalog)


def item_path(catalog: Path, id: str) -> Path:
    """Where the STAC item of scene ``id`` lies."""
    return catalog / "scenes" / id / f"{id}.json"


def read_scene(catalog: Path, id: str) -> Scene:
    """The scene ``id``. Raises ``BadData`` if the catalog has none."""
    path = item_path(Path(catalog), safe_id(id))
    if not path.exists():
        raise BadData(f"{catalog} has no scene {id!r}; list them with `ls {Path(catalog) / 'scenes'}`, or ingest it.")
    return _scene(path)


def verify(scene: Scene, catalog: Path) -> None:
    """Raise ``BadData`` unless image and mask still have the bytes that were ingested."""
    for path, expected in (
        (scene.image_path(catalog), scene.image_sha256),
        (scene.mask_path(catalog), scene.mask_sha256),
    ):
        if not path.is_file():
            raise BadData(f"{path} is gone; ingest scene {scene.id} again.")
        if sha256(path) != expected:
            raise BadData(f"{path} has changed since it was ingested; restore it or ingest scene {scene.id} again.")


def fingerprint(catalog: Path, id: str) -> str | None:
    """Fingerprint of the source that scene ``id`` was made from, or None if the catalog has no such scene, or none that
    can be read, so that it is fetched again."""
    path = item_path(Path(catalog), id)
    if not path.exists():
        return None
    try:
        properties = read_json(path)["properties"]
        Scene.model_validate(properties["swath:scene"])
    except _BROKEN as error:
        log.warning("%s is no item of this catalog (%s); the scene is taken for a new one.", path, error)
        return None
    told: str | None = properties.get("swath:fingerprint")
    return told


def write_item(
    folder: Path,
    scene: Scene,
    *,
    fingerprint: str,
    dated: bool,
    bands: Sequence[dict[str, Any]],
    earlier: Sequence[str] = (),
) -> None:
    """Write the STAC item of ``scene`` to ``folder``; ``bands`` as the raster extension describes them.

    ``earlier`` are the hrefs of the items or files of the earlier dates in a stack.
    """
    item = pystac.Item(scene.id, scene.geometry, list(scene.bbox), scene.datetime, properties={})
    item.stac_extensions = list(_EXTENSIONS)
    item.properties |= {
        "gsd": scene.resolution,
        "eo:cloud_cover": round(100 * scene.cloud_share, 3),
        "proj:code" if scene.crs.startswith("EPSG:") else "proj:wkt2": scene.crs,
        "proj:transform": list(scene.transform),
        "proj:shape": [scene.height, scene.width],
        "swath:fingerprint": fingerprint,
        "swath:dated": dated,
        "swath:run": airflow_run(),
        "swath:scene": scene.model_dump(mode="json"),
    }
    image = pystac.Asset("./image.tif", "Pixels, all bands", media_type=_COG, roles=["data"])
    image.extra_fields = {"file:checksum": f"1220{scene.image_sha256}", "file:size": scene.image_size}
    image.extra_fields["raster:bands"] = list(bands)
    bits = pystac.Asset("./mask.tif", "Bits: 1 no data, 2 cloud, 4 shadow", media_type=_COG, roles=["data-mask"])
    bits.extra_fields = {"file:checksum": f"1220{scene.mask_sha256}"}
    item.assets = {"image": image, "mask": bits}
    for rel in ("root", "parent"):
        item.add_link(pystac.Link(rel, "../../catalog.json", media_type="application/json"))
    for source in (scene.source, *earlier):
        if "://" in source:
            item.add_link(pystac.Link("via", source))
    write_json(folder / f"{scene.id}.json", item.to_dict(include_self_link=False, transform_hrefs=False))


def write_index(catalog: Path, project: str) -> tuple[int, str, dict[Path, str]]:
    """Write ``catalog.json`` over all scenes that lie below ``scenes/``; return how many they are, and their state.

    Items that cannot be read are left out, for one of them is to withhold no other scene, and are returned with the
    reason.
    """
    links: list[dict[str, str]] = []
    damaged: dict[Path, str] = {}

    def listed() -> Iterator[Scene]:
        for path in _items(catalog):
            try:
                scene = _scene(path)
            except BadData as error:
                damaged[path] = str(error)
                continue
            href = f"./scenes/{path.stem}/{path.name}"
            links.append({"rel": "item", "href": href, "type": "application/geo+json", "title": path.stem})
            yield scene

    now = state(listed())
    index = pystac.Catalog(project, f"Scenes of {project}", title=project)
    index.remove_links("root")
    index.add_link(pystac.Link("root", "./catalog.json", media_type="application/json"))
    content = index.to_dict(include_self_link=False, transform_hrefs=False)
    content["links"] += links
    write_json(catalog / "catalog.json", content)
    return len(links), now, damaged


def state(scenes: Iterable[Scene]) -> str:
    """One hash over the bytes and the meaning of all ``scenes``: it changes when, and only when, content does."""
    content = hashlib.sha256(b"[")
    for number, scene in enumerate(scenes):
        bands = [band.model_dump(mode="json") for band in scene.bands]
        told = json.dumps([scene.id, scene.image_sha256, scene.mask_sha256, bands], sort_keys=True)
        content.update(f"{', ' if number else ''}{told}".encode())
    content.update(b"]")
    return content.hexdigest()


def _items(catalog: Path) -> Iterator[Path]:
    for folder in sorted((catalog / "scenes").glob("[!.]*")):
        if (path := folder / f"{folder.name}.json").is_file():
            yield path


def _scene(path: Path) -> Scene:
    try:
        return Scene.model_validate(read_json(path)["properties"]["swath:scene"])
    except _BROKEN as error:
        raise BadData(f"{path} is no item of this catalog ({error}); ingest the scene again.") from error
