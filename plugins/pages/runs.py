"""Between runs of Airflow and the parts of the page, both ways."""

from __future__ import annotations

from urllib.parse import quote

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.errors import BadData
from pipelines.workspace.workspace import run_name
from plugins.pages.site import airflow_root, page, page_root

router = APIRouter()

_PART_OF = {
    "ingest_scenes": "scenes",
    "build_dataset": "data",
    "train_model": "models",
    "rollback_model": "models",
    "predict_scenes": "map",
    "monitor_drift": "drift",
}


@router.get("/run/{name}")
def to_airflow(request: Request, name: str, session: SessionDep) -> Response:
    """To Airflow's own page of the run that our records call ``name``, which says less than its id does."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    dag = name.split(".", 1)[0]
    ids = session.scalars(select(DagRun.run_id).where(DagRun.dag_id == dag).order_by(DagRun.id.desc()))
    run = next((run for run in ids if run_name(dag, run) == name), None)
    if run is None:
        raise BadData(f"Airflow does not know the run {name[:200]!r} any more; `maintain` removes old ones.")
    return RedirectResponse(f"{airflow_root(request)}/dags/{quote(dag, safe='')}/runs/{quote(run, safe='')}")


@router.get("/of/{dag}/{run}")
def from_airflow(request: Request, dag: str, run: str) -> Response:
    """To the part of the page that shows what a run is about."""
    from pipelines.atlas.runs import project_of

    if dag not in _PART_OF:
        return page(request, "elsewhere.jinja", dag=dag)
    name = run_name(dag, run)
    project = project_of(name)
    if project is None:
        return RedirectResponse(f"{page_root(request)}/")
    mark = f"#{quote(name, safe='')}" if dag == "monitor_drift" else ""
    return RedirectResponse(f"{page_root(request)}/p/{project}/{_PART_OF[dag]}{mark}")
