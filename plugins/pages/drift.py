"""Drift over time: what each run of the watch said, and how far each feature has moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from plugins.pages.site import page

if TYPE_CHECKING:
    from pipelines.atlas.watches import Point

router = APIRouter(prefix="/p/{project}")

_WIDTH, _HEIGHT, _EDGE = 260, 90, 8  # of a plot, in its own units


@router.get("/drift")
def show(request: Request, project: str) -> Response:
    from pipelines.atlas.watches import series, watches
    from pipelines.monitoring.features import plain

    found = watches(project)
    version = found[0].version if found else None
    plots = [_plot(plain(feature), points) for feature, points in series(project, version).items()]
    plots.sort(key=lambda plot: -plot["worst"])
    size = _WIDTH, _HEIGHT
    return page(
        request, "drift.jinja", project=project, watches=found, version=version, plots=plots, size=size, plain=plain
    )


def _plot(feature: str, points: Sequence[Point]) -> dict[str, Any]:
    """Where the scenes of one feature go in its plot: by day from left to right, by distance upwards."""
    first, last = points[0].when, points[-1].when
    whole = max((last - first).total_seconds(), 1)
    top = max(max(point.distance, point.limit) for point in points) * 1.05 or 1

    def x(point: Point) -> float:
        return round(_EDGE + (point.when - first).total_seconds() / whole * (_WIDTH - 2 * _EDGE), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _EDGE - value / top * (_HEIGHT - 2 * _EDGE), 1)

    return {
        "feature": feature,
        "first": first,
        "last": last,
        "worst": max(point.distance / point.limit if point.limit else 0 for point in points),
        "odd": sum(point.odd for point in points),
        "latest": points[-1],
        "floor": y(0),
        "limit": " ".join(f"{x(point)},{y(point.limit)}" for point in points)
        if len(points) > 1
        else f"0,{y(points[0].limit)} {_WIDTH},{y(points[0].limit)}",
        "dots": [(x(point), y(point.distance), point) for point in points],
    }
