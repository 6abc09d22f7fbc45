"""Which project a run of Airflow worked on, by what it left behind."""

from __future__ import annotations

from pathlib import Path

from pipelines.atlas.places import projects
from pipelines.config import settings


def project_of(run: str) -> str | None:
    """The project of a run, named as `run_name` does; the only one there is; else ``None``.

    Stages leave a folder with the run's name: the staging of ingestion and maps, the report of the watch.
    """
    here, known = settings(), projects()
    for project in known:
        left: tuple[Path, ...] = (
            here.catalog / project / "staging" / run,
            here.predictions / project / "staging" / run,
            here.reports / project / "drift" / run,
        )
        if any(path.exists() for path in left):
            return project
    return known[0] if len(known) == 1 else None
