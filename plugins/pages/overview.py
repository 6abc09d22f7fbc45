"""The first look of a morning: each project in a few lines, and the newest notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from pipelines.atlas.places import projects
from pipelines.config import settings
from pipelines.files import read_json
from plugins.pages.site import page

router = APIRouter()

_LATEST = 20


@router.get("/")
def overview(request: Request) -> Response:
    """Projects with their scenes, maps, drift verdicts and quarantine, and the newest notices."""
    return page(request, "overview.jinja", summaries=[_summary(name) for name in projects()], notices=_notices())


def _summary(name: str) -> dict[str, Any]:
    from pipelines.atlas.layers import open_atlas
    from pipelines.scenes.quarantine import records

    here = settings()
    atlas = open_atlas(name)
    return {
        "name": name,
        "scenes": len(atlas.scenes),
        "newest": atlas.scenes[0].datetime if atlas.scenes else None,
        "maps": {version: len(ids) for version, ids in sorted(atlas.maps.items(), reverse=True)},
        "docs": (here.reports / name / "data_docs" / "index.html").exists(),
        "drift": [_verdict(path) for path in _newest(here.reports / name / "drift", "*/verdict.json")],
        "quarantine": records(here.catalog / name),
    }


def _verdict(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) | {"run": path.parent.name}


def _notices() -> list[dict[str, Any]]:
    return [dict(read_json(path)) for path in _newest(settings().home / "notices", "*.json")]


def _newest(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda path: -path.stat().st_mtime)[:_LATEST]
