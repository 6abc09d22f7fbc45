"""What the watch over the maps has found, run by run and feature by feature, out of its reports.

The reports are read as they were written, whatever version of the code wrote them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.atlas.places import project_in
from pipelines.config import settings
from pipelines.files import read_json

_RUNS, _SCENES = 60, 500


class Watch(BaseModel):
    """One run of the watch. ``groups``: for each season and zone its name, verdict, sentence and odd scenes."""

    model_config = ConfigDict(frozen=True)

    run: str  # as `run_name` writes it
    when: datetime
    verdict: str
    sentence: str
    version: str | None
    retrain: bool
    features: tuple[str, ...]
    groups: tuple[dict[str, Any], ...]
    report: bool  # whether there is a page


class Point(BaseModel):
    """A scene's distance from the reference in one feature, Hellinger, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    scene: str
    group: str
    when: datetime
    distance: float
    limit: float
    odd: bool  # beyond its limit, or in a drift with other scenes beyond the lower one that counts where they agree


def watches(project: str) -> list[Watch]:
    """All runs of the watch that came to a verdict, the latest first."""
    folder = project_in(settings().reports, project) / "drift"
    found = [_watch(path, path.stat().st_mtime_ns) for path in folder.glob("*/verdict.json")]
    return sorted(found, key=lambda watch: watch.when, reverse=True)


def series(project: str, version: str | None) -> dict[str, list[Point]]:
    """For each feature the scenes that ``version`` mapped, by the day they were taken; of each the latest look.

    The latest scenes of the latest runs, as many as a page can show.
    """
    folder = project_in(settings().reports, project) / "drift"
    latest: dict[str, tuple[dict[str, Any], set[str]]] = {}
    for path in sorted(folder.glob("*/comparison.json"), key=lambda path: path.stat().st_mtime)[-_RUNS:]:
        comparison = _read(path, path.stat().st_mtime_ns)
        if comparison.get("version") == version:
            shared = _agreed(path.with_name("verdict.json"))
            latest |= {s["name"]: (s, shared.get(s["name"], set())) for s in comparison.get("scenes", ())}
    found: dict[str, list[Point]] = {}
    for scene, agreed in sorted(latest.values(), key=lambda found: str(found[0]["when"]))[-_SCENES:]:
        for feature, distance in scene.get("distances", {}).items():
            limit = scene["limits"][feature]
            lower = scene.get("agreed_limits", {}).get(feature, limit) if feature in agreed else limit
            point = Point(
                scene=scene["name"],
                group=scene["group"],
                when=scene["when"],
                distance=distance,
                limit=limit,
                odd=distance > lower,
            )
            found.setdefault(feature, []).append(point)
    return found


def _agreed(verdict: Path) -> dict[str, set[str]]:
    """The features in which scenes agree in a drift, by scene."""
    groups = _read(verdict, verdict.stat().st_mtime_ns).get("groups", ()) if verdict.exists() else ()
    return {
        scene: set(group["features"]) for group in groups if group["verdict"] == "drift" for scene in group["scenes"]
    }


@lru_cache(maxsize=512)
def _watch(path: Path, changed: int) -> Watch:
    verdict = read_json(path)
    return Watch(
        run=path.parent.name,
        when=datetime.fromtimestamp(changed / 1e9, UTC),
        verdict=verdict.get("verdict", ""),
        sentence=verdict.get("sentence", ""),
        version=verdict.get("version"),
        retrain=bool(verdict.get("retrain")),
        features=tuple(verdict.get("features", ())),
        groups=tuple(verdict.get("groups", ())),
        report=(path.parent / "report.html").exists(),
    )


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> dict[str, Any]:
    return dict(read_json(path))
