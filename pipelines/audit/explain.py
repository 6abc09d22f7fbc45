"""The chain behind a map: as far as it can be reached, and a sentence for each link that cannot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from pipelines.audit.model import Model, models_of, parts, version_tags
from pipelines.audit.record import Record, State, find
from pipelines.audit.source import file_of, is_scene, scene_of
from pipelines.bundle.contract import SCENES
from pipelines.errors import SwathError
from pipelines.files import read_json
from pipelines.inference.provenance import Joining, Prediction, Provenance
from pipelines.registry import aliases
from pipelines.registry.record import Kept
from pipelines.scenes.catalog import item_path
from pipelines.workspace.release import Version, version_of

_Found = TypeVar("_Found")
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}  # seconds


class Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Image(Part):
    """What was mapped. ``found`` is where its bytes are now; ``None`` where they are not to be found."""

    id: str
    kind: str  # scene, file or map
    href: str | None
    sha256: str | None
    mask_sha256: str | None = None
    found: str | None = None
    when: datetime | None = None
    source: str | None = None  # where a scene was fetched from
    radiometry: str | None = None
    run: str | None = None  # DAG/RUN that ingested a scene
    images: tuple[Image, ...] = ()  # of a map


class Decided(Part):
    """What became of a version; ``None`` or empty for what did not happen."""

    verdict: str | None
    reasons: tuple[str, ...]
    at: str | None
    run: str | None
    against: str | None  # the champion at the time
    approver: str | None
    rejecter: str | None
    promoted_at: str | None
    promoted_by: str | None  # name of the run
    former_champion: str | None
    restored_at: str | None
    restored_because: str | None
    withdrawn_because: str | None
    record: str | None  # URI of the decision with all its evidence


class Registered(Part):
    """A model in the registry."""

    version: str
    aliases: tuple[str, ...]
    mlflow_run: str
    trained_by: str | None  # DAG/RUN
    registered_by: str | None  # DAG/RUN
    decision: Decided
    records: tuple[Kept, ...]  # of the decisions about it, the earliest first


class Life(Part):
    """A model."""

    uri: str
    sha256: str
    bundle: str | None  # where its bundle is now
    commit: str | None
    dataset: str | None  # DVC's hash
    scenes: tuple[dict[str, str], ...]  # id, datetime, image_sha256, mask_sha256
    labels: tuple[dict[str, Any], ...]  # path, sha256, size
    registered: Registered | None


class Explanation(Part):
    """The chain of a map. ``gaps`` are sentences: what cannot be reached, and what is not as it was."""

    id: str
    folder: str
    title: str | None
    files: dict[str, State]
    made: SerializeAsAny[Provenance] | None
    images: tuple[Image, ...]
    models: tuple[Life, ...]
    dataset: Version | None
    gaps: tuple[str, ...]


def explain(path: Path) -> Explanation:
    """The chain behind the map that ``path`` is a file or the folder of. Raises ``BadData`` where it is no map."""
    with _hurried():
        return _explained(path)


@contextmanager
def _hurried() -> Iterator[None]:
    """Let MLflow's client give up soon on a server that does not answer: a person waits."""
    own = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


def _explained(path: Path) -> Explanation:
    record, gaps = find(path), _Gaps()
    told = record.properties
    if not record.item:
        gaps.say(f"{path} was copied without its item.json; all that is known is what its own tags say.")
    states = record.states()
    for name, state in states.items():
        if state == "changed":
            gaps.say(f"{record.path(name)} is not as it was made: its sha256 is no longer that of the item.")
    made = (Joining if record.mosaic else Prediction).read(told) if record.item else None
    if record.item and made is None:
        gaps.say("The map was made by a version of swath that did not write down its tiling, engine, code and run.")
    models = tuple(_life(model, str(told["swath:project"]), gaps) for model in models_of(record))
    return Explanation(
        id=record.id,
        folder=str(record.folder.resolve()),
        title=told.get("title"),
        files=states,
        made=made,
        images=_images(record, gaps),
        models=models,
        dataset=_dataset(told, gaps),
        gaps=tuple(gaps.told),
    )


class _Gaps:
    def __init__(self) -> None:
        self.told: list[str] = []

    def say(self, sentence: str) -> None:
        if sentence not in self.told:
            self.told.append(sentence)

    def tried(self, ask: Callable[[], _Found]) -> _Found | None:
        try:
            return ask()
        except SwathError as error:
            self.say(str(error))
            return None


def _images(record: Record, gaps: _Gaps) -> tuple[Image, ...]:
    if record.mosaic:
        maps = zip(record.images, parts(record), strict=True)
        return tuple(_map(link.href, link.title, link.pin, one, gaps) for link, one in maps)
    told = record.properties
    if not record.item:
        return (Image(id=record.id, kind="unknown", href=None, sha256=told.get("swath:source_sha256")),)
    href, digest = record.images[0].href, told["swath:source_sha256"]
    if not is_scene(record):
        here = gaps.tried(lambda: file_of(record))
        return (Image(id=record.id, kind="file", href=href, sha256=digest, found=str(here) if here else None),)
    image = Image(id=record.id, kind="scene", href=href, sha256=digest, mask_sha256=told["swath:mask_sha256"])
    found = gaps.tried(lambda: scene_of(record))
    if found is None:
        return (image,)
    scene, catalog = found
    own = {"when": scene.datetime, "source": scene.source, "radiometry": scene.radiometry}
    item = item_path(catalog, scene.id)
    own |= {"found": str(scene.image_path(catalog)), "run": read_json(item)["properties"].get("swath:run")}
    return (image.model_copy(update=own),)


def _map(href: str, title: str, pin: str | None, record: Record | None, gaps: _Gaps) -> Image:
    image = Image(id=title.removeprefix("Map "), kind="map", href=href, sha256=(pin or "").removeprefix("1220"))
    if record is None:
        gaps.say(f"{title} is no longer at {href}, so what it was made from is not known.")
        return image
    found = record.path("probabilities.tif")
    if record.files.get("probabilities.tif") != image.sha256 or record.states()["probabilities.tif"] != "as made":
        gaps.say(f"{found} is not the file that went into the mosaic: its sha256 has changed.")
        return image
    return image.model_copy(update={"found": str(found), "images": _images(record, gaps)})


def _life(model: Model, project: str, gaps: _Gaps) -> Life:
    bundle = gaps.tried(model.open)
    revision = bundle.contract.revision if bundle else None
    trained: dict[str, Any] = {}
    if bundle and SCENES in bundle.contract.files:
        trained = read_json(bundle.folder / SCENES)
    elif bundle:
        gaps.say(f"{bundle.name} was packaged by a version of swath that did not list its scenes in the bundle.")
    return Life(
        uri=model.uri,
        sha256=model.digest,
        bundle=str(bundle.folder) if bundle else None,
        commit=revision.commit if revision else None,
        dataset=revision.dataset if revision else None,
        scenes=tuple(trained.get("scenes", ())),
        labels=tuple(trained.get("labels", ())),
        registered=_registered(model, project, gaps),
    )


def _registered(model: Model, project: str, gaps: _Gaps) -> Registered | None:
    found = gaps.tried(lambda: version_tags(model, project))
    if found is None:
        return None
    tags, run = found["tags"], found["run_tags"]
    if run is None:
        gaps.say(f"MLflow has deleted the run {found['run_id']} that trained version {found['version']}.")
    for sentence in found["altered"]:
        gaps.say(sentence)
    decided = Decided(
        verdict=tags.get(aliases.DECISION),
        reasons=tuple(tags.get(aliases.REASONS, "").splitlines()),
        at=tags.get(aliases.DECIDED),
        run=tags.get(aliases.DECIDED_BY) or None,
        against=tags.get(aliases.AGAINST) or None,
        approver=tags.get(aliases.APPROVER),
        rejecter=tags.get(aliases.REJECTER),
        promoted_at=tags.get(aliases.PROMOTED),
        promoted_by=tags.get(aliases.MOVED_BY) or None,
        former_champion=tags.get(aliases.FORMER) or None,
        restored_at=tags.get(aliases.RESTORED),
        restored_because=tags.get(aliases.RESTORED_WHY),
        withdrawn_because=tags.get(aliases.WITHDRAWN),
        record=tags.get(aliases.RECORD),
    )
    return Registered(
        version=found["version"],
        aliases=tuple(found["aliases"]),
        mlflow_run=found["run_id"],
        trained_by=(run or {}).get("swath.airflow_run"),
        registered_by=tags.get(aliases.REGISTERED_BY) or None,
        decision=decided,
        records=found["records"],
    )


def _dataset(told: dict[str, Any], gaps: _Gaps) -> Version | None:
    project, hash = str(told["swath:project"]), told.get("swath:dataset")
    if not hash:
        gaps.say("The model does not say of which dataset it is, for it was trained on data that DVC had not seen.")
        return None
    try:
        found = version_of(project, str(hash))
    except SwathError as error:
        gaps.say(str(error))
        return None
    if found is None:
        gaps.say(f"No dataset version of {project} has the data {hash}; they were never released, or the tag is gone.")
    return found
