"""The champion's history: every version, what was found about it, who decided what, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request, Response

from plugins.pages.datasets import numbers_by_digest
from plugins.pages.site import page

if TYPE_CHECKING:
    from pipelines.atlas.champions import Version

router = APIRouter(prefix="/p/{project}")


@router.get("/models")
def show(request: Request, project: str) -> Response:
    from pipelines.atlas.champions import history
    from pipelines.atlas.places import project_in
    from pipelines.config import settings

    name = project_in(settings().catalog, project).name
    versions = history(name)
    return page(
        request,
        "models.jinja",
        project=project,
        versions=versions,
        datasets=numbers_by_digest(name) if versions else {},
    )


@router.get("/records")
def records(request: Request, project: str) -> Response:
    """Every decision on record, and what MLflow says against it, as a piece of the page: the repository is asked."""
    from pipelines.atlas.champions import checked, terms
    from pipelines.atlas.places import project_in
    from pipelines.config import settings

    found = checked(project_in(settings().catalog, project).name)
    return page(request, "records.jinja", project=project, check=found, terms=terms(found.moves))


@router.get("/models/{number}/{name}.png")
def picture(
    project: str,
    number: Annotated[int, Path(ge=1)],
    name: Annotated[str, Path(pattern=r"^(legend|(worst|median)-(image|labels|champion|challenger))$")],
) -> Response:
    """A test block as the gate drew it, for the page on which Airflow asks for approval."""
    from pipelines.atlas.champions import decision_picture
    from pipelines.atlas.places import project_in
    from pipelines.config import settings

    found = decision_picture(project_in(settings().catalog, project).name, number, name)
    return Response(found, media_type="image/png", headers={"Cache-Control": "private, max-age=300"})


@router.get("/champion")
def champion(request: Request, project: str) -> Response:
    """The champion in a line, as a piece of the overview, which does not wait for MLflow."""
    return page(request, "champion.jinja", project=project, champion=_champion(project))


@router.get("/champion.json")
def champion_number(project: str) -> dict[str, int | None]:
    """For the map, which does not wait for MLflow either: ``number``, or ``None`` where there is no champion."""
    found = _champion(project)
    return {"number": found.number if found else None}


def _champion(project: str) -> Version | None:
    from pipelines.atlas.champions import history
    from pipelines.atlas.places import project_in
    from pipelines.config import settings

    versions = history(project_in(settings().catalog, project).name)
    return next((version for version in versions if version.state == "champion"), None)
