"""The state of an installation: what may go, copies of it, and their return."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.result import emit
from pipelines.errors import SwathError

app = typer.Typer()
log = logging.getLogger(__name__)


@app.command("maintain")
def maintain_command(
    days: Annotated[int, typer.Option(min=1, help="Age of what may go.")] = 30,
    versions: Annotated[int, typer.Option(min=0, help="Former champions whose maps stay.")] = 3,
) -> None:
    """Remove what is left of runs, copies that can be had again, old logs and reports, and maps of former champions."""
    from pipelines.bundle.store import champion, require_store
    from pipelines.upkeep.cache import remove_cached
    from pipelines.upkeep.models import collect, project_folders, remove_failed, remove_maps
    from pipelines.upkeep.retention import remove_stale

    removed = remove_stale(days) | {"objects of DVC's cache": remove_cached(days)}
    maps: dict[str, list[str]] = {}
    try:
        require_store()
        removed["failed runs of MLflow"] = remove_failed(days)
        maps = {project: remove_maps(project, champion(project), versions) for project in project_folders()}
        collect(days)
    except SwathError as error:  # what needs no MLflow is done
        log.warning("%s", error)
    emit({"removed": removed, "maps": maps})


@app.command("backup")
def backup_command(
    folder: Annotated[Path, typer.Argument(help="Where copies go; the same one each time, best on another disk.")],
    keep: Annotated[int, typer.Option(min=1, help="Newest copies that stay.")] = 7,
) -> None:
    """Copy the whole state of the embedded system, running or not; only what a former copy lacks is written."""
    from pipelines.upkeep.backup import backup, read_manifest

    made = backup(folder, keep)
    manifest = read_manifest(made)
    files = [entry for entry in manifest.entries if entry.sha256]
    for sentence in manifest.left_out:
        log.warning("%s is not in the copy; docs/operations.md says how to copy it.", sentence)
    emit({"copy": str(made), "files": len(files), "bytes": sum(entry.size for entry in files)})


@app.command("restore")
def restore_command(
    copy: Annotated[Path, typer.Argument(help="Folder of copies, for its newest, or a manifest in it.")],
) -> None:
    """Bring a copy back to an empty SWATH_HOME; checked to the byte, and nothing is written over."""
    from pipelines.upkeep.restore import restore

    manifest = restore(copy)
    emit({"made": manifest.made, "version": manifest.version, "files": sum(1 for e in manifest.entries if e.sha256)})
