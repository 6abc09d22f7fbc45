"""The drift report: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.files import write_text
from pipelines.monitoring.causes import likely_cause
from pipelines.monitoring.drift import Compared, Comparison
from pipelines.monitoring.features import plain
from pipelines.monitoring.pictures import drawing, map_picture, quicklook
from pipelines.monitoring.verdict import Verdict

ROWS = 100  # scenes in the table
PICTURES = 12  # scenes with pictures; each costs up to 200 kB of page


@dataclass(frozen=True)
class SceneFiles:
    """Where a scene's pictures come from; a file that is missing leaves its picture out."""

    image: Path
    classes: Path


def write_report(
    path: Path,
    comparison: Comparison,
    verdict: Verdict,
    files: Mapping[str, SceneFiles],
    places: Mapping[str, Any],
    *,
    project: str,
    run: str,
) -> None:
    """Write the page to ``path``. ``files`` is by scene id, ``places`` the GeoJSON of ``places``."""
    scenes = _by_oddness(comparison)
    said = {group.group: group for group in verdict.groups}
    features = sorted({feature for scene in comparison.scenes for feature in scene.distances})
    blamed = {scene.name: said[scene.group].blamed(scene) for scene in comparison.scenes}
    causes = {scene.name: likely_cause(scene) if blamed[scene.name] else None for scene in comparison.scenes}
    environment = Environment(
        loader=PackageLoader("pipelines.monitoring"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"heat": heat, "plain": plain}
    page = environment.get_template("drift.html.j2").render(
        project=project,
        run=run,
        verdict=verdict,
        features=features,
        scenes=scenes[:ROWS],
        left_out=max(len(scenes) - ROWS, 0),
        causes=causes,
        blamed=blamed,
        groups=[(g, said[g.group], _shared_cause(said[g.group].scenes, causes)) for g in comparison.groups],
        worst={g.group: _worst(g, comparison) for g in comparison.groups},
        drawings={g.group: {f: drawing(h) for f, h in g.histograms.items()} for g in comparison.groups},
        pictures=[_pictures(scene, files[scene.name]) for scene in scenes[:PICTURES] if scene.name in files],
        places=places["features"],
    )
    write_text(path, page)


def heat(times: float) -> int:
    """How strongly a cell is tinted, in percent, for a distance of ``times`` the limit: full from twice the limit."""
    return round(min(times / 2, 1) * 85)


def _by_oddness(comparison: Comparison) -> list[Compared]:
    latest_first = sorted(comparison.scenes, key=lambda s: s.when, reverse=True)
    return sorted(latest_first, key=lambda s: -max(s.odd.values(), default=0.0))


def _shared_cause(scenes: Sequence[str], causes: Mapping[str, str | None]) -> str | None:
    """The cause that most of the odd scenes have in common; their figures may differ a little."""
    found = [cause for scene in scenes if (cause := causes[scene])]
    kinds = Counter(cause.split(":")[-1] for cause in found)
    common = kinds.most_common(1)
    return next((c for c in found if c.split(":")[-1] == common[0][0]), None) if common else None


def _worst(group: Compared, comparison: Comparison) -> dict[str, float]:
    """By feature, the greatest distance of a scene of the group, or of the group itself."""
    members = [group, *(scene for scene in comparison.scenes if scene.group == group.group)]
    return {f: max(m.distances.get(f, 0.0) for m in members) for f in group.histograms}


def _pictures(scene: Compared, files: SceneFiles) -> dict[str, Any]:
    return {
        "scene": scene,
        "image": quicklook(files.image),
        "map": map_picture(files.classes),
    }
