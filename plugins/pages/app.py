"""The app that holds the parts together: the login before every route, files, and errors as pages."""

from __future__ import annotations

from pathlib import Path

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from pipelines.atlas.places import below, projects
from pipelines.config import settings
from pipelines.depot import look
from pipelines.errors import BadData, SwathError
from plugins.pages import atlas, datasets, drift, models, overview, runs, scenes
from plugins.pages.site import STATIC, problem

_DAY = "private, max-age=86400"
# Great Expectations' pages ask for scripts from elsewhere, which would act in Airflow as whoever looks at them
_REPORTS = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def known(project: str) -> None:
    """Raise ``BadData`` if there is no such project."""
    if project not in projects():
        raise BadData(f"There is no project {project} here: nothing was ingested, mapped or reported for it yet.")


app = FastAPI(title="Swath", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)
for part in (overview, runs):
    app.include_router(part.router, dependencies=[Depends(look)])
for part in (atlas, models, drift, datasets, scenes):
    app.include_router(part.router, dependencies=[Depends(look), Depends(known)])


@app.get("/static/{path:path}")
def static(path: str) -> FileResponse:
    """A script or style of ours. Mounted files would not ask for the login."""
    return _file(STATIC, path, _DAY)


@app.get("/leaflet/{path:path}")
def leaflet(path: str) -> FileResponse:
    """A file of the map library, out of the package that brings it."""
    from xstatic.pkg.leaflet import BASE_DIR

    return _file(Path(BASE_DIR), path, _DAY)


@app.get("/reports/{path:path}", dependencies=[Depends(look)])
def report(path: str) -> FileResponse:
    """A file below the reports folder: Data Docs and drift reports."""
    answer = _file(settings().reports, path, "private, no-cache")
    answer.headers["Content-Security-Policy"] = _REPORTS
    return answer


@app.exception_handler(BadData)
def unknown(request: Request, error: BadData) -> Response:
    """What a request names does not exist, or may not be looked at."""
    return problem(request, 404, str(error))


@app.exception_handler(SwathError)
def failed(request: Request, error: SwathError) -> Response:
    """Something that the page needs is out of reach: MLflow, the repository, the DVC remote."""
    return problem(request, 503, str(error))


@app.exception_handler(Exception)
def broken(request: Request, error: Exception) -> Response:
    """Such as a damaged file; the trace is in the api-server's log."""
    return problem(request, 500, f"This cannot be shown ({error!r}); the api-server's log says more.")


@app.exception_handler(StarletteHTTPException)
def refused(request: Request, error: StarletteHTTPException) -> Response:
    return problem(request, error.status_code, str(error.detail))


def _file(root: Path, path: str, cache: str) -> FileResponse:
    target = below(root, path)
    if not target.is_file():
        raise HTTPException(404, "There is no such file.")
    return FileResponse(target, headers={"Cache-Control": cache, "X-Content-Type-Options": "nosniff"})
