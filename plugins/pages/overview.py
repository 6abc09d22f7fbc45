"""The first look of a morning: each project in a few lines, and the newest notices."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response

from pipelines.atlas.places import projects
from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import read_json
from plugins.pages.site import page

log = logging.getLogger(__name__)
router = APIRouter()

_LATEST = 20


@router.get("/")
def overview(request: Request) -> Response:
    """Projects with their scenes, maps, drift verdicts and quarantine, and the newest notices."""
    return page(request, "overview.jinja", summaries=[_summary(name) for name in projects()], notices=_notices())


def _summary(name: str) -> dict[str, Any]:
    """What there is to say of a project, or why it cannot be said, which keeps no other from being told of."""
    try:
        return _figures(name)
    except SwathError as error:
        return {"name": name, "problem": str(error)}
    except Exception as error:
        log.exception("Project %s cannot be told of", name)
        return {
            "name": name,
            "problem": f"A file of this project is damaged ({error!r}); the api-server's log says which.",
        }


def _figures(name: str) -> dict[str, Any]:
    from pipelines.atlas.layers import open_atlas
    from pipelines.atlas.watches import watches
    from pipelines.scenes.quarantine import records

    here = settings()
    atlas, set_aside = open_atlas(name), records(here.catalog / name)
    return {
        "name": name,
        "scenes": len(atlas.scenes),
        "newest": atlas.scenes[0].datetime if atlas.scenes else None,
        "maps": {version: len(ids) for version, ids in sorted(atlas.maps.items(), reverse=True)},
        "docs": (here.reports / name / "data_docs" / "index.html").exists(),
        "drift": next(iter(watches(name)), None),
        "quarantine": len(set_aside),
        "set_aside": max((record.when for record in set_aside), default=None),
    }


def _notices() -> list[dict[str, Any]]:
    found = []
    for path in settings().notices.glob("*.json"):
        # upkeep removes old ones; one that is broken tells nothing
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            notice = dict(read_json(path))
            found.append((str(notice["when"]), notice))
    return [notice for _, notice in sorted(found, key=lambda each: each[0], reverse=True)[:_LATEST]]
