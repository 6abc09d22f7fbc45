"""What all parts share: templates, the frame around a part, and where it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader

from pipelines.atlas.places import projects
from pipelines.config import settings

STATIC = Path(__file__).parent / "static"
PARTS = {"map": "Map", "models": "Models", "drift": "Drift", "data": "Datasets", "scenes": "Scenes"}

_PREFIX = "/swath"  # where Airflow mounts the app
_loader = FileSystemLoader(Path(__file__).parent / "templates")
_templates = Jinja2Templates(env=Environment(loader=_loader, autoescape=True, trim_blocks=True, lstrip_blocks=True))


def page(request: Request, template: str, *, project: str | None = None, status: int = 200, **values: Any) -> Response:
    """``template`` in the common frame. ``root`` is the page's own address, ``airflow`` Airflow's, as paths."""
    common = {
        "root": page_root(request),
        "airflow": airflow_root(request),
        "mlflow": mlflow_address(),
        "projects": projects(),
        "project": project,
        "parts": PARTS,
        "part": template.split(".")[0],
        "stamp": _STAMP,
    }
    answer = _templates.TemplateResponse(request, template, common | values, status_code=status)
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Content-Security-Policy"] = _policy()
    return answer


def page_root(request: Request) -> str:
    """The path below which the app lies, without a slash at the end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def airflow_root(request: Request) -> str:
    """The path below which Airflow lies; empty for the root of its host."""
    return page_root(request).removesuffix(_PREFIX)


def problem(request: Request, status: int, sentence: str) -> Response:
    """An error as a page for a person, and as JSON for a script."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": sentence}, status_code=status)
    # names of projects are for those who are logged in, and whether somebody is was not asked on every way to an error
    return page(request, "problem.jinja", status=status, sentence=sentence, code=status, projects=())


def mlflow_address() -> str | None:
    """Where people reach MLflow; ``None`` if it is a file and no server."""
    here = settings()
    if here.mlflow_page:
        return here.mlflow_page.rstrip("/")
    if not here.mlflow_uri.startswith(("http://", "https://")):
        return None
    address = urlsplit(here.mlflow_uri.rstrip("/"))
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()  # its login is the services' own


def _policy() -> str:
    """Nothing from elsewhere, but for the pictures of a base map where one is set."""
    base = settings().basemap
    pictures = f" {'/'.join(base.split('/')[:3]).replace('{s}', '*')}" if base else ""
    return (
        f"default-src 'self'; img-src 'self' data:{pictures}; style-src 'self' 'unsafe-inline'; object-src 'none'; "
        "base-uri 'none'; frame-ancestors 'self'"
    )


def _filter(function: Callable[[Any], str]) -> Callable[[Any], str]:
    _templates.env.filters[function.__name__.lstrip("_")] = function
    return function


@_filter
def day(value: datetime | str | None) -> str:
    """A moment as a person reads it: ``2026-11-26 01:14`` in UTC."""
    if value is None or value == "":
        return ""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.strftime("%Y-%m-%d %H:%M")


@_filter
def short(value: str | None) -> str:
    """The first digits of a hash."""
    return (value or "")[:8]


@_filter
def percent(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.1f} %"


# Browsers keep scripts and styles for a day; another content gets another address.
_STAMP = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))).hexdigest()[:10]
