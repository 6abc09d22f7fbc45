"""The four steps of a watch over the champion's maps. Each leaves its result in the folder of the run.

``scenes.json`` and ``groups/*.bin`` are left by ``collect``, ``comparison.json`` by ``compare_run``, ``report.html``
``places.geojson`` and its image chips by ``report_run``, ``verdict.json`` by ``decide_run``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.config.params import Drift
from pipelines.depot import address, brought
from pipelines.errors import BadData
from pipelines.files import read_json, replacing, write_json
from pipelines.inference.raster import in_bands
from pipelines.monitoring.drift import Comparison, compare, grouped, latest
from pipelines.monitoring.looks import Looks
from pipelines.monitoring.places import Place, places_of, worth_labelling, write_queue
from pipelines.monitoring.profile import Facts, Profile, merged, read_facts, read_profile
from pipelines.monitoring.reference import INDEX, Reference
from pipelines.monitoring.report import SceneFiles, write_report
from pipelines.monitoring.verdict import Verdict, call_for_training, judge
from pipelines.progress import report
from pipelines.scenes.catalog import item_path, read_scene

logger = logging.getLogger(__name__)

PROFILE = "profile.bin"
KEPT = 50  # latest scenes of a group that are compared, at least; older ones had their turn


class Watched(BaseModel):
    """``scenes.json``: what a run looks at."""

    model_config = ConfigDict(frozen=True)

    version: str | None  # None: there is no champion yet
    scenes: tuple[str, ...]  # folder names below the maps of the version
    unreadable: tuple[str, ...]  # sentences about profiles that are damaged


def collect(maps: Path, version: str | None, folder: Path, params: Drift) -> Watched:
    """Gather the profiles below ``maps``, the folder of one model version's maps, and merge the latest by group.

    Of each profile the head is read, and of the latest the rest, a group at a time.
    """
    paths = sorted(path for path in Path(maps).glob(f"*/{PROFILE}") if not path.parent.name.startswith("."))
    found: list[_Found] = []
    unreadable: list[str] = []
    for done, path in enumerate(paths):
        report(done, len(paths), f"profile of {path.parent.name}")
        with _told(unreadable):
            found.append(_Found(path.parent.name, read_facts(path)))
    kept: list[str] = []
    with replacing(folder / "groups") as draft:
        draft.mkdir()
        for group, members in grouped(found, params).items():
            recent: dict[str, Profile] = {}
            for one in members[-max(KEPT, len(latest(members, params))) :]:
                with _told(unreadable):
                    recent[one.name] = read_profile(Path(maps) / one.name / PROFILE)
            if recent:
                merged(latest(list(recent.values()), params)).write(draft / f"{group}.bin")
            kept += recent
    watched = Watched(version=version, scenes=tuple(sorted(kept)), unreadable=tuple(sorted(unreadable)))
    write_json(folder / "scenes.json", watched.model_dump(mode="json"))
    return watched


@dataclass(frozen=True)
class _Found:
    """A profile of which nothing but the facts is in memory."""

    name: str  # of its folder
    facts: Facts


@contextmanager
def _told(unreadable: list[str]) -> Iterator[None]:
    try:
        yield
    except BadData as error:
        logger.warning("%s", error)
        unreadable.append(str(error))


def collected(folder: Path) -> Watched:
    """What ``collect`` wrote. Raises ``BadData`` where it has not run."""
    return Watched.model_validate(_read(folder / "scenes.json", "swath drift profile"))


def compare_run(maps: Path, references: Path | None, folder: Path, params: Drift) -> Comparison:
    """Compare the scenes collected in ``folder`` with a bundle's ``reference`` folder, or with nothing."""
    watched = collected(folder)
    paths = {scene: Path(maps) / scene / PROFILE for scene in watched.scenes}
    found = grouped((_Found(scene, read_facts(path)) for scene, path in paths.items()), params)
    groups = ((group, [read_profile(paths[one.name]) for one in members]) for group, members in found.items())
    comparison = compare(groups, open_references(references), watched.version, params)
    write_json(folder / "comparison.json", comparison.model_dump(mode="json"))
    return comparison


def open_references(folder: Path | None) -> Sequence[Reference]:
    """The references of inputs and outputs in a bundle's ``reference`` folder, as far as they are there."""
    if folder is None:
        return []
    return [Reference(folder / kind) for kind in ("inputs", "outputs") if (folder / kind / INDEX).exists()]


def report_run(
    maps: Path, catalog: Path, training: Looks, folder: Path, params: Drift, *, project: str
) -> tuple[Path, Verdict]:
    """Write the page and the labelling queue; return the page and the verdict that it states.

    ``training`` is what the model's training ground looked like, with the bands that the model sees.
    """
    comparison, verdict = judged(folder, params)
    odd = [scene for group in verdict.groups if group.verdict in ("drift", "warning") for scene in group.scenes]
    queue = write_queue(folder, worth_labelling(_places(odd, maps, catalog, training), training.values))
    files = {
        scene.name: SceneFiles(
            image=Path(catalog) / "scenes" / scene.name / "image.tif",
            classes=Path(maps) / scene.name / "classes.tif",
        )
        for scene in comparison.scenes
    }
    page = folder / "report.html"
    write_report(page, comparison, verdict, files, queue, project=project, run=folder.name)
    return page, verdict


def _places(scenes: Sequence[str], maps: Path, catalog: Path, training: Looks) -> Iterator[Place]:
    """Of those of ``scenes`` whose map and image are still there."""
    for done, scene in enumerate(scenes):
        report(done, len(scenes), f"places of {scene}")
        confidence = Path(maps) / scene / "confidence.tif"
        if brought(confidence).exists() and brought(item_path(catalog, scene)).exists():
            yield from places_of(
                in_bands(read_scene(catalog, scene), catalog, training.bands), confidence, training.side
            )


def decide_run(folder: Path, state: Path, params: Drift, now: datetime) -> dict[str, Any]:
    """Write the verdict, and whether it calls for a training. A run repeated says what it said before."""
    _, verdict = judged(folder, params)
    file = folder / "verdict.json"
    before = file.exists() and bool(read_json(file)["retrain"])
    retrain = before or call_for_training(verdict, folder.name, state, params, now)
    page = folder / "report.html"
    decision = verdict.model_dump(mode="json") | {
        "retrain": retrain,
        "report": address(page) if page.exists() else None,
    }
    write_json(file, decision)
    return decision


def judged(folder: Path, params: Drift) -> tuple[Comparison, Verdict]:
    """The comparison in ``folder`` and its verdict. Raises ``BadData`` where ``compare_run`` has not run."""
    comparison = Comparison.model_validate(_read(folder / "comparison.json", "swath drift compare"))
    return comparison, judge(comparison, params)


def _read(path: Path, command: str) -> Any:
    if not path.exists():
        raise BadData(f"{path} is missing; run `{command} --run {path.parent.name}` first.")
    return read_json(path)
