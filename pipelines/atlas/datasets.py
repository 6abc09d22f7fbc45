"""Dataset versions of a project, as the pipeline tagged them in the watched repository."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from pipelines.atlas.places import project_in
from pipelines.config import settings
from pipelines.config.params import Labels
from pipelines.dataset.certificate import Certificate, read_certificate
from pipelines.dataset.snapshot import Manifest, read_manifest
from pipelines.errors import BadData
from pipelines.files import alone, replacing
from pipelines.workspace.git import git
from pipelines.workspace.source import mirror
from pipelines.workspace.stage import bring
from pipelines.workspace.workspace import close_workspace, open_workspace

CERTIFICATE, SPLIT_MAP, MANIFEST, LABELS = "certificate.json", "certificate.png", "manifest.json", "labels"

_OURS = re.compile(r"dataset/[^\0]+/v\d+\0[0-9a-f]{40}\0")  # people may have tags of their own there
_FRESH = 120  # seconds for which the mirror is taken as it is; a version made on this machine is in it at once


class Dataset(BaseModel):
    """A tag ``dataset/<project>/vN``: ``commit`` holds its ``dvc.lock``, ``source`` is what it was built from."""

    model_config = ConfigDict(frozen=True)

    project: str
    number: int
    commit: str
    source: str | None
    run: str | None  # the run that made it, as `run_name` writes it
    digest: str  # DVC's hash of data/chips
    when: datetime

    @property
    def tag(self) -> str:
        return f"dataset/{self.project}/v{self.number}"


def datasets(project: str) -> list[Dataset]:
    """The dataset versions of ``project``, the newest first; none before the first build."""
    place = project_in(settings().reports, project).name  # a name that git takes for no pattern or option
    fields = "%(refname:short)%00%(*objectname)%00%(*committerdate:iso-strict)%00%(*contents)%00%00"
    listed = git("for-each-ref", f"--format={fields}", f"refs/tags/dataset/{place}/", at=_mirrored())
    entries = (entry.strip("\n") for entry in listed.split("\0\0"))
    found = [_dataset(project, entry) for entry in entries if _OURS.match(entry)]
    return sorted(found, key=lambda dataset: -dataset.number)


def dataset(project: str, number: int) -> Dataset:
    """Raises ``BadData`` if there is no such version."""
    found = next((each for each in datasets(project) if each.number == number), None)
    if found is None:
        raise BadData(f"{project} has no dataset version {number}.")
    return found


def certificate(dataset: Dataset) -> Certificate:
    return read_certificate(fetched(dataset, CERTIFICATE))


def manifest(dataset: Dataset) -> Manifest:
    return read_manifest(fetched(dataset, MANIFEST))


def labels_params(dataset: Dataset) -> Labels:
    """The section ``labels`` of its ``params.yaml``."""
    text = git("show", f"{dataset.commit}:params.yaml", at=_mirrored())
    return Labels.model_validate(yaml.safe_load(text)["labels"])


def fetched(dataset: Dataset, name: str) -> Path:
    """The output ``data/<name>`` of ``dataset`` on this machine; brought from the DVC cache or remote the first time.

    Raises ``SwathError`` if neither has it.
    """
    folder = settings().home / "atlas" / dataset.project / f"v{dataset.number}-{dataset.commit[:12]}"
    if (folder / name).exists():
        return folder / name
    with alone(folder.with_name(f".{folder.name}.lock")):
        if not (folder / name).exists():
            _bring(dataset, folder, (CERTIFICATE, SPLIT_MAP, MANIFEST) if name != LABELS else (LABELS,))
    return folder / name


def _bring(dataset: Dataset, folder: Path, names: Sequence[str]) -> None:
    run = f"page.{dataset.project}.{dataset.number}"
    workspace = open_workspace(run, dataset.commit)
    try:
        bring(workspace, [f"data/{name}" for name in names])
        for name in names:
            with replacing(folder / name) as draft:
                copy = shutil.copytree if (workspace / "data" / name).is_dir() else shutil.copyfile
                copy(workspace / "data" / name, draft)
    finally:
        close_workspace(run)


def _mirrored() -> Path:
    """The mirror, brought up to date unless that was done a moment ago: a page asks for it many times."""
    bare = settings().home / "source.git"
    looked = bare / "FETCH_HEAD"
    if looked.exists() and time.time() - looked.stat().st_mtime < _FRESH:
        return bare
    return mirror()


def _dataset(project: str, entry: str) -> Dataset:
    tag, commit, when, message = entry.split("\0")
    said = dict(line.split(": ", 1) for line in message.splitlines() if line.startswith("Swath-") and ": " in line)
    return Dataset(
        project=project,
        number=int(tag.rsplit("/v", 1)[1]),
        commit=commit,
        source=said.get("Swath-Source"),
        run=said.get("Swath-Run"),
        digest=message.splitlines()[0].split(" ")[-1],
        when=datetime.fromisoformat(when),
    )
