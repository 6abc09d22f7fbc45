"""Counts become ``metrics.json``, tables and pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.config.params import Evaluate, LabelClass, Task
from pipelines.dataset.snapshot import Manifest
from pipelines.evaluation import metrics as m
from pipelines.evaluation.bootstrap import Interval, interval, paired_gain
from pipelines.evaluation.calibration import calibration_error
from pipelines.evaluation.chips import ChipScores
from pipelines.evaluation.plots import draw_classes, draw_confusion, draw_curves, draw_reliability
from pipelines.evaluation.score import Tally, by, write_blocks
from pipelines.files import write_json

BLOCK_SCORES = "blocks.parquet"
CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Outcome:
    """All counts of one evaluation."""

    test: str  # digest of the test ground
    manifest: Manifest
    classes: tuple[LabelClass, ...]
    task: Task
    network: Tally
    baseline: Tally | None
    temperature: float = 1.0
    threshold: float = 0.5  # score from which an object counts
    chips: ChipScores | None = None  # of what gives each pixel a class
    precision: dict[str, Any] | None = None  # average precision of objects, by ``objects.precision``

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.classes]


def summary(outcome: Outcome, settings: Evaluate) -> dict[str, Any]:
    """What goes into ``metrics.json``. Scores of stitched test ground with block-bootstrap intervals come first."""
    size, void = len(outcome.classes), m.void_of(outcome.task)
    miou = partial(m.miou, void=void)
    frame = outcome.network.frame("network")
    blocks, counts = by(frame, "block_id", size)
    total = counts.sum(axis=0)
    options: dict[str, Any] = {"resamples": settings.bootstrap, "confidence": settings.confidence}
    scores = m.class_scores(total, void)
    ious = interval(counts, lambda c: m.class_scores(c, void).iou, **options)
    scenes = miou(by(frame, "scene_id", size)[1])
    scenes = scenes if np.isfinite(scenes).any() else np.full(1, np.nan)
    found: dict[str, Any] = {
        "miou": _ends(interval(counts, miou, **options)[0]),
        "accuracy": number(m.accuracy(total)),
        "f1": number(m.mean_f1(total, void)),
        "classes": {
            name: {
                "iou": number(iou.value),
                "low": number(iou.low),
                "high": number(iou.high),
                "precision": number(scores.precision[i]),
                "recall": number(scores.recall[i]),
                "f1": number(scores.f1[i]),
                "support": int(scores.support[i]),
            }
            for i, (name, iou) in enumerate(zip(outcome.names, ious, strict=True))
            if i != void
        },
        "scenes": {
            "lowest": number(np.nanmin(scenes)),
            "median": number(np.nanmedian(scenes)),
            "highest": number(np.nanmax(scenes)),
        },
        "test": {"digest": outcome.test, "blocks": len(blocks), "scenes": frame["scene_id"].nunique()},
    }
    found |= _of_pixels(outcome, outcome.chips) if outcome.chips else _of_objects(outcome, found["classes"])
    known = scores.support.sum() - (0 if void is None else scores.support[void])
    found["test"]["pixels" if void is None else "objects"] = int(known)
    if outcome.baseline:
        bar = by(outcome.baseline.frame("baseline"), "block_id", size)[1]
        found["baseline"] = {
            "miou": _ends(interval(bar, miou, **options)[0]),
            "accuracy": number(m.accuracy(bar.sum(axis=0))),
            "f1": number(m.mean_f1(bar.sum(axis=0), void)),
            "gain": _ends(paired_gain(counts, bar, miou, **options)),
        }
    return found


def _of_pixels(outcome: Outcome, chips: ChipScores) -> dict[str, Any]:
    return {
        "boundary": number(m.boundary_f(outcome.network.boundary)),
        "ece": number(calibration_error(outcome.network.reliability)),
        "chips": {
            "miou": number(m.miou(chips.confusion)),
            "accuracy": number(m.accuracy(chips.confusion)),
            "ece": number(calibration_error(chips.after)),
            "ece_before_scaling": number(calibration_error(chips.before)),
        },
        "temperature": number(outcome.temperature),
    }


def _of_objects(outcome: Outcome, classes: dict[str, Any]) -> dict[str, Any]:
    """Average precision, which goes into ``classes`` too."""
    precision = outcome.precision or {"classes": {}}
    for name, scores in precision["classes"].items():
        classes[name] |= scores
    return {name: precision.get(name) for name in ("map", "map50")} | {"threshold": number(outcome.threshold)}


def write(folder: Path, outcome: Outcome) -> None:
    """Write the tables and pictures of ``data/evaluation`` into ``folder``, which exists."""
    names, size = outcome.names, len(outcome.classes)
    frame = outcome.network.frame("network")
    total = by(frame, "block_id", size)[1].sum(axis=0)
    bar = outcome.baseline.frame("baseline") if outcome.baseline else None
    write_json(folder / CALIBRATION, {"temperature": outcome.temperature, "threshold": outcome.threshold})
    write_blocks(folder / BLOCK_SCORES, frame if bar is None else pd.concat([frame, bar], ignore_index=True))
    pd.DataFrame(total, index=pd.Index(names, name="true"), columns=names).to_csv(folder / "confusion.csv")
    _scene_table(outcome, frame).to_csv(folder / "scenes.csv", index=False, float_format="%.6f")
    draw_confusion(folder / "confusion.png", total, names)
    bar_total = None if bar is None else by(bar, "block_id", size)[1].sum(axis=0)
    draw_classes(folder / "classes.png", total, bar_total, names, m.void_of(outcome.task))
    if outcome.chips:
        curves = m.curves(outcome.network.histogram)
        points = {"pr": {"recall": curves.recall, "precision": curves.precision}}
        points["roc"] = {"false_positive_rate": curves.false_positives, "true_positive_rate": curves.recall}
        for name, columns in points.items():
            table = _curve_table(names, curves.threshold, columns)
            table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6f")
        draw_curves(folder / "curves.png", curves, names, [c.color for c in outcome.classes])
        draw_reliability(folder / "reliability.png", outcome.chips.before, outcome.chips.after)


def _scene_table(outcome: Outcome, frame: pd.DataFrame) -> pd.DataFrame:
    ids, counts = by(frame, "scene_id", len(outcome.classes))
    scenes = [outcome.manifest.scene(id) for id in ids]
    return pd.DataFrame(
        {
            "scene_id": ids,
            "date": [scene.datetime.date().isoformat() for scene in scenes],
            "season": [scene.season for scene in scenes],
            "zone": [scene.zone for scene in scenes],
            "pixels" if outcome.chips else "objects": counts[:, 0 if outcome.chips else 1 :].sum(axis=(1, 2)),
            "miou": m.miou(counts, m.void_of(outcome.task)),
            "accuracy": m.accuracy(counts),
        }
    )


def _curve_table(names: list[str], threshold: m.Values, columns: dict[str, m.Values]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"class": name, "threshold": threshold} | {column: v[i] for column, v in columns.items()})
        for i, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True).dropna()


def _ends(found: Interval) -> dict[str, float | None]:
    return {name: number(value) for name, value in found.model_dump().items()}


def number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 6)
