"""The map: scenes and predictions as tiles, a pixel's story, the labelling queue."""

from __future__ import annotations

import os
from datetime import date
from functools import lru_cache
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from pipelines.atlas.places import project_in
from pipelines.config import settings
from pipelines.errors import BadData
from pipelines.files import read_json
from plugins.pages.site import page

router = APIRouter(prefix="/p/{project}")

_KINDS = ("image", "classes", "confidence", "errors", "mask", "objects")
_KEPT = "private, max-age=86400"  # tiles carry the state of the atlas in their address
_BRIEFLY = "private, max-age=60"  # but not that of the labels

Until = Annotated[date | None, Query()]
Scene = Annotated[str | None, Query(max_length=128)]


@router.get("/map")
def show(request: Request, project: str) -> Response:
    from pipelines.atlas.layers import open_atlas

    atlas = open_atlas(project)
    return page(request, "map.jinja", project=project, scenes=len(atlas.scenes))


@router.get("/layers.json")
def layers(project: str) -> dict[str, Any]:
    """All that the map needs to know before it draws: scenes, versions with their legends, band combinations."""
    from pipelines.atlas.composites import combinations
    from pipelines.atlas.layers import open_atlas

    atlas = open_atlas(project)
    bands = atlas.scenes[0].bands if atlas.scenes else ()
    return {
        "digest": atlas.digest,
        "basemap": settings().basemap,
        "scenes": [
            {
                "id": scene.id,
                "day": scene.datetime.date().isoformat(),
                "bbox": scene.bbox,
                "resolution": scene.resolution,
                "clouds": round(scene.cloud_share, 4),
                "versions": sorted((v for v, ids in atlas.maps.items() if scene.id in ids), reverse=True),
            }
            for scene in atlas.scenes
        ],
        "versions": [
            {
                "number": number,
                "legend": [entry.model_dump() for entry in atlas.legends[number]],
                "objects": number in atlas.detectors,
            }
            for number in sorted(atlas.maps, reverse=True)
        ],
        "combinations": combinations([band.name for band in bands]) if bands else {},
    }


@lru_cache
def _drawing() -> CapacityLimiter:
    """Threads that draw tiles. A map asks for dozens at once, and Airflow answers its own requests with the rest."""
    return CapacityLimiter(max(2, os.cpu_count() or 1))


@router.get("/tiles/{kind}/{z}/{x}/{y}.png")
async def tile(
    project: str,
    kind: str,
    z: int,
    x: int,
    y: int,
    until: Until = None,
    scene: Scene = None,
    version: Annotated[int | None, Query(ge=1)] = None,
    bands: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    if kind not in _KINDS:
        raise BadData(f"There is no layer {kind[:40]!r}; there are {', '.join(_KINDS)}.")

    def draw() -> bytes:
        from pipelines.atlas import tiles
        from pipelines.atlas.layers import open_atlas

        chosen = tuple(filter(None, bands.split(",")))
        atlas = open_atlas(project)
        return tiles.tile(atlas, kind, x, y, z, until=until, scene=scene, version=version, bands=chosen)  # type: ignore[arg-type]

    kept = _BRIEFLY if kind == "errors" else _KEPT
    picture = await to_thread.run_sync(draw, limiter=_drawing())
    return Response(picture, media_type="image/png", headers={"Cache-Control": kept})


@router.get("/pixel.json")
def pixel(
    project: str,
    lon: Annotated[float, Query(ge=-180, le=180)],
    lat: Annotated[float, Query(ge=-90, le=90)],
    until: Until = None,
    scene: Scene = None,
) -> dict[str, Any]:
    """What lies at a place; ``{}`` where no scene has data."""
    from pipelines.atlas.layers import open_atlas
    from pipelines.atlas.pixel import pixel_at

    found = pixel_at(open_atlas(project), lon, lat, until=until, scene=scene)
    return found.model_dump(mode="json") if found else {}


@router.get("/queue.geojson")
def queue(project: str) -> Response:
    """The newest list of places worth labelling; ``folder`` says where below ``reports/`` their image chips are."""
    reports = project_in(settings().reports, project)
    found = sorted(reports.glob("*/*/*.geojson"), key=lambda path: path.stat().st_mtime)
    places: dict[str, Any] = {"type": "FeatureCollection", "features": []}
    if found:
        places = read_json(found[-1]) | {
            "folder": found[-1].parent.relative_to(settings().reports.resolve()).as_posix()
        }
    kept = {"Cache-Control": "private, no-cache"}
    return JSONResponse(places, media_type="application/geo+json", headers=kept)
