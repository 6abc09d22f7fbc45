"""What a change of the scenes cost a champion, what its successor won back, and what the watch said of both."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from pipelines.bundle.store import open_bundle
from pipelines.errors import SwathError
from pipelines.evaluation import metrics as m
from pipelines.evaluation.score import by
from pipelines.evaluation.tracking import store
from pipelines.files import read_json
from pipelines.local.chain import DagResult
from pipelines.monitoring.causes import likely_cause
from pipelines.monitoring.drift import Comparison
from pipelines.registry import aliases
from pipelines.registry.decision import Decision
from pipelines.registry.scores import known_scores


class Watch(BaseModel):
    """What a run of ``monitor_drift`` said, and how far the changed scenes lie in the feature that moved most."""

    model_config = ConfigDict(frozen=True)

    version: str
    verdict: str
    sentence: str
    retrain: bool
    cause: str | None
    feature: str
    distance: float  # Hellinger, of the changed scene that is farthest beyond its limit or nearest to it
    limit: float
    odd: int  # of the changed scenes
    scenes: int  # changed ones that were compared
    report: Path


class Scores(BaseModel):
    """mIoU on the test blocks of one dataset version, on which the gate compared the two models."""

    model_config = ConfigDict(frozen=True)

    usual: dict[str, float]  # by model version
    changed: dict[str, float]
    usual_blocks: int
    changed_blocks: int


class Recovery(BaseModel):
    """The whole story."""

    model_config = ConfigDict(frozen=True)

    old: str  # model versions
    new: str
    scores: Scores
    before: Watch  # the old model's, when the changed scenes had come
    after: Watch  # the new model's
    reasons: tuple[str, ...]  # of the gate
    commit: str  # of the labels
    seconds: dict[str, float]  # by act


def watch_of(result: DagResult, changed: Collection[str], feature: str | None = None) -> Watch:
    """Read what a run of ``monitor_drift`` left; ``feature`` is the one to state, by default the one that moved most.

    Raises ``SwathError`` where the run compared none of the scenes ``changed``.
    """
    said, report = result.results["decide"], Path(result.results["report"]["report"])
    comparison = Comparison.model_validate(read_json(report.parent / "comparison.json"))
    scenes = [scene for scene in comparison.scenes if scene.name in changed and scene.distances]
    if not scenes:
        raise SwathError(f"{result.run} compared none of the scenes that changed; read {report}.")
    times = {(scene.name, f): d / scene.limits[f] for scene in scenes for f, d in scene.distances.items()}
    name, worst = max((key for key in times if feature in (None, key[1])), key=lambda key: times[key])
    farthest = next(scene for scene in scenes if scene.name == name)
    return Watch(
        version=str(said["version"]),
        verdict=said["verdict"],
        sentence=said["sentence"],
        retrain=said["retrain"],
        cause=likely_cause(farthest),
        feature=worst,
        distance=farthest.distances[worst],
        limit=farthest.limits[worst],
        odd=sum(bool(scene.odd) for scene in scenes),
        scenes=len(scenes),
        report=report,
    )


def scores_of(project: str, old: str, new: str, changed: Collection[str]) -> Scores:
    """What the gate found when version ``new`` challenged ``old``, apart for scenes in ``changed`` and others.

    Raises ``SwathError`` where it compared nothing.
    """
    with store() as client:
        versions = {number: aliases.version(client, project, number) for number in (old, new)}
        record = client.download_artifacts(str(versions[new].run_id), "decision.json")
        evidence = Decision.model_validate(read_json(Path(record))).evidence
        test = evidence.test if evidence else ""
        bundles = {number: open_bundle(f"models:/{project}/{number}") for number in versions}
        frames = {n: known_scores(client, str(v.run_id), bundles[n], test) for n, v in versions.items()}
    found: dict[str, dict[str, float]] = {"usual": {}, "changed": {}}
    blocks: dict[str, int] = {}
    for number, frame in frames.items():
        if frame is None or frame.empty:
            raise SwathError(f"Version {number} of {project} has no scores on the test of version {new}.")
        for group, rows in frame.groupby(np.where(frame["scene_id"].isin(changed), "changed", "usual")):
            size = round(len(rows["confusion"].iloc[0]) ** 0.5)
            _, counts = by(rows, "block_id", size)
            found[str(group)][number] = round(float(m.miou(counts.sum(axis=0))), 4)
            blocks[str(group)] = len(counts)
    return Scores(
        usual=found["usual"],
        changed=found["changed"],
        usual_blocks=blocks.get("usual", 0),
        changed_blocks=blocks.get("changed", 0),
    )


def print_recovery(console: Console, told: Recovery) -> None:
    """Print the figures as a table, what watch and gate said, and the times."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", f"version {told.old}", f"version {told.new}"):
        table.add_column(column, justify="left" if not column else "right")
    scores, before, after = told.scores, told.before, told.after
    for name, found, blocks in (
        ("usual scenes", scores.usual, scores.usual_blocks),
        ("changed scenes", scores.changed, scores.changed_blocks),
    ):
        table.add_row(f"mIoU on {name}, {blocks} test blocks", f"{found[told.old]:.3f}", f"{found[told.new]:.3f}")
    table.add_row(
        f"distance of changed scenes in {before.feature} (limit)",
        *(f"{watch.distance:.2f} ({watch.limit:.2f})" for watch in (before, after)),
    )
    table.add_row("changed scenes beyond a limit", *(f"{watch.odd} of {watch.scenes}" for watch in (before, after)))
    table.add_row("verdict of the watch", before.verdict, after.verdict)
    console.rule("A changed stream, and what became of it", align="left")
    console.print(table, highlight=False)
    for name, text in (
        ("flagged", before.sentence),
        ("likely cause", before.cause or "unknown"),
        ("labels", f"commit {told.commit[:12]}, pushed by another author"),
        ("gate", " ".join(told.reasons)),
        ("now", after.sentence),
        ("times", ", ".join(f"{act} {seconds:.0f} s" for act, seconds in told.seconds.items())),
        ("reports", f"{before.report}, {after.report}"),
    ):
        console.print(f"[bold]{name}[/]  {text}", highlight=False)
