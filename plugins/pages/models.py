"""The champion's history: every version, what was found about it, who decided what, and why."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from plugins.pages.datasets import numbers_by_digest
from plugins.pages.site import page

router = APIRouter(prefix="/p/{project}")


@router.get("/models")
def show(request: Request, project: str) -> Response:
    from pipelines.atlas.champions import history, terms
    from pipelines.atlas.places import project_in
    from pipelines.config import settings

    name = project_in(settings().catalog, project).name
    versions = history(name)
    return page(
        request,
        "models.jinja",
        project=project,
        versions=versions,
        terms=terms(versions),
        datasets=numbers_by_digest(name) if versions else {},
    )


@router.get("/champion")
def champion(request: Request, project: str) -> Response:
    """The champion in a line, as a piece of the overview, which does not wait for MLflow."""
    from pipelines.atlas.champions import history
    from pipelines.atlas.places import project_in
    from pipelines.config import settings

    versions = history(project_in(settings().catalog, project).name)
    found = next((version for version in versions if version.state == "champion"), None)
    return page(request, "champion.jinja", project=project, champion=found)
