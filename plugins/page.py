"""The Swath page: what there is, and the reports, behind Airflow's login."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

from pipelines.config import settings

app = FastAPI(title="Swath", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)

_STYLE = """
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent)}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.drift,.failed{color:#c8443c}.none,.clean{color:#1f8a4c}.warning{color:#b7791f}p.empty{opacity:.65}
"""


@app.get("/", response_class=HTMLResponse)
def overview() -> str:
    """Projects with their scenes, maps, drift verdicts and quarantine, and the newest failures."""
    projects = sorted({p.name for p in (*settings().catalog.glob("*/"), *settings().reports.glob("*/")) if p.is_dir()})
    body = "".join(_project(name) for name in projects) or "<p class=empty>Nothing yet: trigger ingest_scenes.</p>"
    return _page("Swath", body + _notices())


@app.get("/reports/{path:path}")
def report(path: str) -> FileResponse:
    """A file below the reports folder: Data Docs and drift reports."""
    root = settings().reports.resolve()
    target = (root / path).resolve()
    if not target.is_relative_to(root) or not target.is_file():
        raise HTTPException(404, "There is no such report.")
    return FileResponse(target)


def _project(name: str) -> str:
    here = settings()
    scenes = sum(1 for _ in (here.catalog / name / "scenes").glob("*/"))
    rows = [("Scenes in the catalog", str(scenes)), ("Maps", _maps(name)), ("Data Docs", _docs(name))]
    table = "".join(f"<tr><th>{html.escape(k)}</th><td>{v}</td></tr>" for k, v in rows)
    return f"<h2>{html.escape(name)}</h2><table>{table}</table>{_drift(name)}{_quarantine(name)}"


def _maps(name: str) -> str:
    versions = sorted((settings().predictions / name).glob("v*/"), key=lambda p: int(p.name[1:]))
    return ", ".join(f"{sum(1 for _ in v.glob('*/item.json'))} by version {v.name[1:]}" for v in versions) or "none yet"


def _docs(name: str) -> str:
    index = settings().reports / name / "data_docs" / "index.html"
    return f'<a href="reports/{name}/data_docs/index.html">Great Expectations</a>' if index.exists() else "none yet"


def _drift(name: str) -> str:
    found = sorted((settings().reports / name / "drift").glob("*/verdict.json"), key=lambda p: -p.stat().st_mtime)[:20]
    rows = "".join(_drift_row(name, path) for path in found)
    return f"<h3>Drift</h3><table><tr><th>Run</th><th>Verdict</th></tr>{rows}</table>" if rows else ""


def _drift_row(name: str, path: Path) -> str:
    verdict = html.escape(str(_json(path).get("verdict")))
    run = html.escape(path.parent.name)
    link = f'<a href="reports/{name}/drift/{run}/report.html">{run}</a>'
    return f'<tr><td>{link}</td><td class="{verdict}">{verdict}</td></tr>'


def _quarantine(name: str) -> str:
    found = [_json(p) for p in sorted((settings().catalog / name / "quarantine").glob("*.json"))]
    rows = "".join(
        f"<tr><td>{html.escape(str(q.get('id')))}</td><td>{html.escape(str(q.get('reason')))}</td></tr>" for q in found
    )
    return f"<h3>Quarantine</h3><table><tr><th>Scene</th><th>Reason</th></tr>{rows}</table>" if rows else ""


def _notices() -> str:
    found = sorted((settings().home / "notices").glob("*.json"), key=lambda p: -p.stat().st_mtime)[:20]
    rows = "".join(_notice_row(_json(path)) for path in found)
    return f"<h2>Notices</h2><table><tr><th>When</th><th>What</th><th>Why</th></tr>{rows}</table>" if rows else ""


def _notice_row(notice: dict[str, Any]) -> str:
    when, why = html.escape(str(notice["when"])), html.escape(str(notice["why"]))
    title, look = html.escape(str(notice["title"])), "failed" if notice["kind"] == "failure" else "warning"
    return f'<tr><td>{when}</td><td class="{look}">{title}</td><td>{why}</td></tr>'


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _page(title: str, body: str) -> str:
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><h1>{title}</h1>{body}</html>"
