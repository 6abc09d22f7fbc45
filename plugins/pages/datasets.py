"""Dataset versions: what they hold, whether anything leaks, and where the splits lie."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from pipelines.errors import SwathError
from plugins.pages.site import page

router = APIRouter(prefix="/p/{project}")

Number = Annotated[int, Path(ge=1)]


@router.get("/data")
def show(request: Request, project: str) -> Response:
    from pipelines.atlas.datasets import datasets

    return page(request, "data.jinja", project=project, datasets=datasets(project))


@router.get("/data/{number}")
def one(request: Request, project: str, number: Number) -> Response:
    """What a version holds, as a piece of the page: its files may have to be brought first."""
    from pipelines.atlas import datasets
    from pipelines.dataset.blocks import SPLITS

    found = datasets.dataset(project, number)
    return page(
        request,
        "dataset.jinja",
        project=project,
        dataset=found,
        certificate=datasets.certificate(found),
        manifest=datasets.manifest(found),
        splits=SPLITS,
        classes=datasets.labels_params(found).classes,
    )


@router.get("/data/{number}/split.png")
def split_map(project: str, number: Number) -> FileResponse:
    from pipelines.atlas import datasets

    file = datasets.fetched(datasets.dataset(project, number), datasets.SPLIT_MAP)
    return FileResponse(file, headers={"Cache-Control": "private, max-age=86400"})


def numbers_by_digest(project: str) -> dict[str, int]:
    """Dataset versions by DVC's hash; none where the repository is out of reach, which is no reason to show less."""
    from pipelines.atlas.datasets import datasets

    try:
        return {each.digest: each.number for each in datasets(project)}
    except SwathError:
        return {}
