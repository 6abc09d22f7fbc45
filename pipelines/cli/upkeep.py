"""The state of an installation: what may go."""

from __future__ import annotations

import logging
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
