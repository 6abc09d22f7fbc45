"""The image that a map was made from, wherever it is now, if it still has its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.audit.record import Record
from pipelines.bundle.contract import Contract
from pipelines.config.settings import settings
from pipelines.depot import brought
from pipelines.errors import BadData
from pipelines.files import sha256
from pipelines.inference.provenance import Prediction
from pipelines.inference.raster import Raster, of_file, of_scene
from pipelines.scenes.catalog import item_path, read_scene, verify
from pipelines.scenes.scene import Scene


def is_scene(record: Record) -> bool:
    """Whether a scene of a catalog was mapped, and not a file."""
    return record.properties.get("swath:mask_sha256") is not None


def scene_of(record: Record) -> tuple[Scene, Path]:
    """The scene that was mapped and its catalog: the one that was used, or else the project's of this machine.

    Raises ``BadData`` where it is gone or has other pixels or another mask now.
    """
    places = [Path(link.href).parents[2] for link in record.images if len(Path(link.href).parents) > 2]
    places.append(settings().catalog / str(record.properties["swath:project"]))
    catalog = next((place for place in places if brought(item_path(place, record.id)).is_file()), places[0])
    if not item_path(catalog, record.id).is_file():
        raise BadData(f"Scene {record.id} is in neither of {_listed(places)}; ingest it again, or set SWATH_CATALOG.")
    scene = read_scene(catalog, record.id)
    mapped = record.properties["swath:source_sha256"], record.properties["swath:mask_sha256"]
    for what, now, then in zip(("pixels", "mask"), (scene.image_sha256, scene.mask_sha256), mapped, strict=True):
        if now != then:
            raise BadData(
                f"Scene {scene.id} in {catalog} is not the one that was mapped: the sha256 of its {what} is "
                f"{now[:12]} now and was {then[:12]}. Restore what was mapped, or map the scene again."
            )
    verify(scene, catalog)
    return scene, catalog


def file_of(record: Record, image: Path | None = None) -> Path:
    """The file that was mapped, or ``image`` in its place. Raises ``BadData`` where it is gone or has other bytes."""
    path = image or Path(record.images[0].href)
    if not path.is_file():
        raise BadData(f"{path}, of which this is the map, is gone; say where it is now with `swath replay --image`.")
    now, then = sha256(path), record.properties["swath:source_sha256"]
    if now != then:
        raise BadData(
            f"{path} is not the file that was mapped: its sha256 is {now[:12]} now and was {then[:12]}. Restore it, or "
            "say where that file is with `swath replay --image`."
        )
    return path


def raster_of(record: Record, contract: Contract, made: Prediction, image: Path | None = None) -> Raster:
    """What was mapped, as ``contract`` sees it. Raises ``BadData`` where it is not that any more."""
    if is_scene(record):
        if image:
            raise BadData(f"{record.id} is a scene of a catalog; name its catalog with SWATH_CATALOG, not --image.")
        raster = of_scene(*scene_of(record), contract)
    else:
        raster = of_file(file_of(record, image), contract, Path(record.images[0].href).name)
    for what, now, then in (("scale", raster.scale, made.scale), ("offset", raster.offset, made.offset)):
        if now != then:
            raise BadData(
                f"The pixels of {record.id} are the same, but their {what} is {list(now)} now and was {list(then)}. "
                "Restore what says so: the scene's item, or the file's name."
            )
    return raster


def _listed(places: Sequence[Path]) -> str:
    return " and ".join(str(place) for place in dict.fromkeys(places))
