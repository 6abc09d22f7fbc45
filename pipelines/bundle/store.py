"""Where bundles are found: a folder, a run of MLflow, or a version or alias in its registry."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from pipelines.bundle.contract import CONTRACT, Contract, read_contract
from pipelines.config.settings import settings
from pipelines.errors import BadData, SwathError
from pipelines.files import replacing, sha256

ARTIFACTS = "bundle"  # the folder of a run's artifacts
BUNDLE_TAG = "swath.bundle"  # of a model version: URI of its bundle
DIGEST_TAG = "swath.bundle_digest"  # of a model version: hash of its bundle's contract
_SQLITE = "sqlite:///"
_MODEL = re.compile(r"models:/(?P<name>[^@/]+)(@(?P<alias>[^@/]+)|/(?P<version>\d+))")
_RUN = re.compile(r"runs:/(?P<run>\w+)(/(?P<path>.+))?")
log = logging.getLogger(__name__)


class NoModel(BadData):
    """The registry or store has nothing at this address."""


@dataclass(frozen=True)
class Bundle:
    """A bundle on this machine whose files are as its contract says."""

    folder: Path
    contract: Contract
    uri: str  # models:/NAME/VERSION, runs:/RUN/bundle, or the folder's name
    version: int | None = None  # in the registry

    @property
    def digest(self) -> str:
        """sha256 of the contract, which lists the checksums of all other files."""
        return sha256(self.folder / CONTRACT)

    @property
    def name(self) -> str:
        """What a map is tagged with: ``NAME v3`` of the registry, or the folder's name."""
        return self.uri if self.version is None else f"{self.contract.project} v{self.version}"


def open_bundle(where: str | Path) -> Bundle:
    """The bundle at ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``runs:/RUN[/bundle]`` or a folder, checked.

    Bundles of the registry are kept below ``SWATH_HOME/bundles``, named by the hash of their contract. Raises
    ``BadData`` where there is no such bundle or its files are damaged, ``SwathError`` where MLflow cannot be reached.
    """
    address = str(where)
    if match := _MODEL.fullmatch(address):
        version, source, digest = registered(match["name"], match["alias"] or int(match["version"]))
        folder, uri = _fetched(source), f"models:/{match['name']}/{version}"
        if digest and folder.name != digest:
            raise BadData(
                f"The bundle of {uri} has the contract {folder.name[:12]}, and {digest[:12]} was registered: it was "
                "changed since. Restore it, or roll back to another version."
            )
        return Bundle(folder, read_contract(folder), uri, version)
    if match := _RUN.fullmatch(address):
        source = f"runs:/{match['run']}/{match['path'] or ARTIFACTS}"
        folder = _fetched(source)
        return Bundle(folder, read_contract(folder), source)
    if re.match(r"\w+:/", address):
        raise BadData(f"{address} names no model; use models:/NAME@champion, models:/NAME/3, runs:/RUN or a folder.")
    return Bundle(Path(where), read_contract(Path(where)), Path(where).name)


def open_again(uri: str, digest: str, folder: Path | None = None) -> Bundle:
    """The bundle that was known as ``uri`` when its contract had the hash ``digest``, wherever it is now.

    Looked for among those kept on this machine, in ``folder``, in the registry under its name, and there under any
    other. Raises ``BadData`` saying where it is not.
    """
    match = _MODEL.fullmatch(uri)
    tried = [f"{folder} is gone or holds another"] if folder else []
    for place in (settings().home / "bundles" / digest, folder):
        if place and (place / CONTRACT).is_file() and sha256(place / CONTRACT) == digest:
            try:
                return Bundle(place, read_contract(place), uri, int(match["version"]) if match else None)
            except BadData as error:
                tried.append(str(error).rstrip("."))
    try:
        require_store()
        addresses = ([uri] if re.match(r"\w+:/", uri) else []) + _versions_of(digest)
    except SwathError as error:
        tried.append(str(error).rstrip("."))
        addresses = []
    for address in dict.fromkeys(addresses):
        try:
            found = open_bundle(address)
        except SwathError as error:
            tried.append(f"{address}: {str(error).rstrip('.')}")
            continue
        if found.digest == digest:
            return replace(found, uri=uri, version=int(match["version"]) if match else None)
        tried.append(f"{address} holds another")
    where = "; ".join(tried) or "the registry has none"
    raise BadData(f"The bundle of {uri} with the contract {digest[:12]} is not to be found: {where}.")


def require_store() -> None:
    """Raise ``SwathError`` where the store is an SQLite file that is not here, which MLflow would make."""
    uri = settings().mlflow_uri
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
        raise SwathError(f"There is no MLflow store at {uri}; set MLFLOW_TRACKING_URI.")


def _versions_of(digest: str) -> list[str]:
    mlflow.set_tracking_uri(settings().mlflow_uri)
    try:
        found = mlflow.MlflowClient().search_model_versions(f"tags.`{DIGEST_TAG}` = '{digest}'")
    except MlflowException as error:
        raise _explained(error, f"The registry has no version with the bundle {digest[:12]}") from error
    return [f"models:/{version.name}/{version.version}" for version in found]


def registered(name: str, which: str | int) -> tuple[int, str, str | None]:
    """Number, bundle URI and hash of the bundle's contract of a version of the model ``name``, by number or alias."""
    mlflow.set_tracking_uri(settings().mlflow_uri)
    client = mlflow.MlflowClient()
    try:
        if isinstance(which, int):
            version = client.get_model_version(name, str(which))
        else:
            version = client.get_model_version_by_alias(name, which)
    except MlflowException as error:
        raise _explained(error, f"The registry has no model {name!r} with version or alias {which!r}") from error
    source = version.tags.get(BUNDLE_TAG) or f"runs:/{version.run_id}/{ARTIFACTS}"
    return int(version.version), source, version.tags.get(DIGEST_TAG)


def champion(name: str) -> int | None:
    """Number of the version of the model ``name`` that has the alias ``champion``; ``None`` if none has."""
    try:
        return registered(name, "champion")[0]
    except NoModel:
        return None


def _fetched(source: str) -> Path:
    mlflow.set_tracking_uri(settings().mlflow_uri)
    with tempfile.TemporaryDirectory() as scratch:
        digest = sha256(_download(f"{source}/{CONTRACT}", Path(scratch)))
    kept = settings().home / "bundles" / digest
    if kept.exists():
        try:
            read_contract(kept)
            os.utime(kept)  # `swath maintain` removes what nobody has asked for of late
            return kept
        except BadData as error:
            log.warning("The copy of %s is damaged and is fetched again: %s", source, error)
    log.info("fetching %s", source)
    with replacing(kept) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        _download(source, Path(scratch)).rename(draft)
        read_contract(draft)
    return kept


def _download(uri: str, target: Path) -> Path:
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target)))
    except MlflowException as error:
        raise _explained(error, f"There is no {uri}") from error
    except OSError as error:
        raise SwathError(f"{uri} could not be fetched ({error}); check MLFLOW_TRACKING_URI and try again.") from error


def _explained(error: MlflowException, sentence: str) -> SwathError:
    if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return NoModel(f"{sentence}; see the registry's page for what there is. MLflow says: {error.message}")
    return SwathError(f"{sentence}, or MLflow cannot be reached; try again. MLflow says: {error.message}")
