"""The models that made a map: their bundles, and what the registry says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from pipelines.audit.record import Record, find
from pipelines.bundle.store import Bundle, open_again, require_store
from pipelines.errors import BadData
from pipelines.evaluation.tracking import active_run, store
from pipelines.registry import aliases
from pipelines.registry.record import differences, records

_ADDRESS = re.compile(r"models:/(?P<name>[^@/]+)/(?P<version>\d+)")


@dataclass(frozen=True)
class Model:
    """A model as a map names it."""

    uri: str
    digest: str  # of its bundle's contract
    folder: Path | None  # where the bundle was

    def open(self) -> Bundle:
        """Its bundle, wherever it is now. Raises ``BadData`` where no bundle with these bytes is to be found."""
        return open_again(self.uri, self.digest, self.folder)


def models_of(record: Record) -> list[Model]:
    """Those of a map, first the one whose contract holds; of a mosaic, those of its maps."""
    told = record.properties
    uris = told.get("swath:ensemble") or [told["swath:model"]]
    digests = told.get("swath:ensemble_sha256") or [told["swath:model_sha256"]]
    links = record.models or next((one.models for one in parts(record) if one and one.models), ())
    folders: list[Path | None] = [Path(link.href).parent for link in links] or [None for _ in digests]
    return [Model(*named) for named in zip(uris, digests, folders, strict=True)]


def parts(record: Record) -> list[Record | None]:
    """The maps of a mosaic; ``None`` for one that is gone."""
    found: list[Record | None] = []
    for link in record.images if record.mosaic else ():
        try:
            found.append(find(Path(link.href)))
        except BadData:
            found.append(None)
    return found


def version_tags(model: Model, project: str) -> dict[str, Any]:
    """What the registry says of ``model``: version, aliases, tags, and tags of the run that trained it; the records of
    decisions about it, and sentences about what the tags say otherwise.

    Raises ``SwathError`` where the registry cannot be reached, ``BadData`` where it has no such version.
    """
    require_store()
    with store() as client:
        version = _version(client, model, project)
        run = active_run(client, version.run_id)
        kept, faults = records(version.name)
        return {
            "records": tuple(each for each in kept if each.about(str(version.version), version.run_id)),
            "altered": (*faults, *differences(kept, version)),
            "version": str(version.version),
            "aliases": sorted(version.aliases),
            "run_id": version.run_id,
            "tags": dict(version.tags),
            "run_tags": dict(run.data.tags) if run else None,
        }


def _version(client: MlflowClient, model: Model, project: str) -> ModelVersion:
    address = _ADDRESS.fullmatch(model.uri)
    name, number = (address["name"], address["version"]) if address else (project, None)
    known = aliases.versions(client, name)
    same = [one for one in known if one.tags.get(aliases.BUNDLE_DIGEST) == model.digest]
    named = [one for one in known if str(one.version) == number]
    chosen = [one for one in same if one in named] or same
    if chosen:
        return aliases.version(client, name, str(chosen[0].version))
    if named:
        raise BadData(
            f"Version {number} of {name} in the registry holds another bundle than that which made the map "
            f"({model.digest[:12]}); its decision says nothing of this map."
        )
    raise BadData(f"The registry has no version of {name} with this bundle ({model.digest[:12]}).")
