"""The catalog, and what is not in it: quarantine with its reasons, and another try."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from plugins.pages.site import page

router = APIRouter(prefix="/p/{project}")

_SHOWN = 200  # newest scenes, of which the map has all, and newest in quarantine


@router.get("/scenes")
def show(request: Request, project: str) -> Response:
    from pipelines.atlas.layers import open_atlas
    from pipelines.scenes.quarantine import records

    atlas = open_atlas(project)
    set_aside = records(atlas.catalog)
    versions = {
        scene.id: sorted((version for version, ids in atlas.maps.items() if scene.id in ids), reverse=True)
        for scene in atlas.scenes[:_SHOWN]
    }
    return page(
        request,
        "scenes.jinja",
        project=project,
        scenes=atlas.scenes[:_SHOWN],
        count=len(atlas.scenes),
        versions=versions,
        quarantine=sorted(set_aside, key=lambda record: record.when, reverse=True)[:_SHOWN],
        set_aside=len(set_aside),
    )
