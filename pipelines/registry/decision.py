"""The rule by which a challenger becomes champion, as one pure function, and the record that it leaves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.config.params import Gate
from pipelines.evaluation.bootstrap import Interval
from pipelines.registry.pictures import Shown

MIN_BLOCKS = 3  # fewer blocks of ground say nothing about the spread between places

_NAMED = 20  # scenes, the worst; MLflow's tags hold so many characters and no more

Verdict = Literal["promote", "refuse", "unchanged"]


class Evidence(BaseModel):
    """What was found about a challenger, on frozen test ground."""

    model_config = ConfigDict(frozen=True)

    test: str  # digest of the test ground
    blocks: int  # of test ground on which both were compared; of objects, those that have any
    seen: int  # test blocks left out because one of the two was trained on that ground
    opponent: Literal["champion", "baseline"] | None  # None: there is nothing to compare with
    miou: float | None  # of the challenger, on all test ground
    opponent_miou: float | None  # on the compared blocks
    gain: Interval | None  # mIoU of the challenger minus the opponent's, paired by block
    classes: dict[str, float]  # IoU of each class that the test ground has
    untested: tuple[str, ...] = ()  # classes that it has not, so that no floor keeps them
    scenes: dict[str, float]  # mIoU of each test scene
    contract: tuple[str, ...] = ()  # sentences: how the challenger's contract differs from the champion's
    unscored: bool = False  # no scores of the opponent are on record
    slowdown: float | None = None  # challenger's time over the champion's, on the same windows


class Decision(BaseModel):
    """Written on the version and beside its model."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    reasons: tuple[str, ...]
    challenger: str  # version
    champion: str | None  # version at the time of the decision
    evidence: Evidence | None
    thresholds: Gate
    commit: str | None
    dataset: str | None
    when: datetime
    run: str | None = None  # DAG/RUN of Airflow
    pictures: tuple[Shown, ...] = ()  # in the folder `decision` of the challenger's run


def decide(evidence: Evidence, thresholds: Gate) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons, one sentence each.

    The lower end of the paired interval must reach ``min_gain``, and must lie above 0 where ``min_gain`` is 0: a model
    that is merely as good changes nothing. A first champion has to beat the per-pixel baseline by the same rule.
    """
    faults = [*evidence.contract, *_comparison_faults(evidence, thresholds), *_floor_faults(evidence, thresholds)]
    if evidence.slowdown is not None and evidence.slowdown > thresholds.max_slowdown:
        faults.append(
            f"It takes {evidence.slowdown:.2f} times as long as the champion on the same windows; "
            f"{thresholds.max_slowdown:g} are allowed."
        )
    if faults:
        return "refuse", tuple(faults)
    return "promote", (_praise(evidence),)


def _comparison_faults(evidence: Evidence, thresholds: Gate) -> list[str]:
    left_out = f" {evidence.seen} test blocks lie on ground that a model was trained on." if evidence.seen else ""
    if evidence.miou is None:
        return [f"No test block is left to judge it on.{left_out} Label more ground."]
    if evidence.opponent is None or evidence.contract:  # other contracts cannot be compared, and that is said already
        return []
    if evidence.unscored:
        return [
            "Nothing is known of the per-pixel baseline on this test ground, so there is nothing that it beats. "
            "Evaluate, package and register it on this dataset, or set evaluate.baseline: false to go without."
        ]
    if evidence.blocks < MIN_BLOCKS:
        return [
            f"Only {evidence.blocks} test blocks can be compared, and {MIN_BLOCKS} are the least.{left_out} "
            "Label more ground, or choose smaller blocks."
        ]
    gain = evidence.gain
    if gain is None or gain.value is None or gain.low is None or gain.high is None:
        return [
            "The gain in mIoU cannot be computed, because the compared blocks have too few labelled pixels or objects."
        ]
    if gain.low < thresholds.min_gain or (gain.low <= 0 and thresholds.min_gain == 0):
        bound = "above 0" if thresholds.min_gain == 0 else f"at least {thresholds.min_gain:+.4f}"
        return [
            f"It does not beat the {evidence.opponent}: the gain in mIoU is {gain.value:+.4f}, "
            f"{gain.low:+.4f} to {gain.high:+.4f} at {thresholds.confidence:.0%} over {evidence.blocks} blocks, "
            f"and the lower end must be {bound}.{left_out}"
        ]
    return []


def _floor_faults(evidence: Evidence, thresholds: Gate) -> list[str]:
    classes = [
        f"Class {name} has an IoU of {iou:.3f}, below the floor of {thresholds.class_floor:g}."
        for name, iou in sorted(evidence.classes.items())
        if iou < thresholds.class_floor
    ]
    below = sorted((miou, scene) for scene, miou in evidence.scenes.items() if miou < thresholds.scene_floor)
    scenes = [
        f"Scene {scene} has a mIoU of {miou:.3f}, below the floor of {thresholds.scene_floor:g}."
        for miou, scene in below[:_NAMED]
    ]
    if len(below) > _NAMED:
        scenes.append(f"{len(below) - _NAMED} more scenes lie below it; the record of the decision holds them all.")
    return classes + scenes


def _praise(evidence: Evidence) -> str:
    absent = ", ".join(evidence.untested)
    unknown = f" Nothing is known of {absent}: the test ground has none." if absent else ""
    if evidence.opponent is None or evidence.gain is None:
        return f"There is no champion and no baseline to beat, and no class or scene is below its floor.{unknown}"
    gain = evidence.gain
    seen = f" ({evidence.seen} that a model was trained on left out)" if evidence.seen else ""
    return (
        f"It beats the {evidence.opponent} by {gain.value:+.4f} mIoU ({gain.low:+.4f} to {gain.high:+.4f}) "
        f"over {evidence.blocks} test blocks{seen}, and no class, scene, contract or speed stands against it.{unknown}"
    )
