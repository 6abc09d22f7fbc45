"""Cross-validation: the tested ground of several folds, taken together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.config.params import Evaluate, Task
from pipelines.evaluation import metrics as m
from pipelines.evaluation.bootstrap import Interval, interval, paired_gain
from pipelines.evaluation.report import BLOCK_SCORES, number
from pipelines.evaluation.score import by
from pipelines.files import read_json


def together(
    workspaces: Sequence[Path], classes: Sequence[str], settings: Evaluate, task: Task = "segmentation"
) -> dict[str, Any]:
    """Scores of each fold's ``data`` and of all their test blocks as one, with block-bootstrap intervals.

    The folds' models differ, so an interval holds the spread between them too.
    """
    found = [read_json(workspace / "data" / "metrics.json") for workspace in workspaces]
    frame = pd.concat([pd.read_parquet(w / "data" / "evaluation" / BLOCK_SCORES) for w in workspaces])
    counts = {str(name): by(rows, "block_id", len(classes))[1] for name, rows in frame.groupby("model")}
    options: dict[str, Any] = {"resamples": settings.bootstrap, "confidence": settings.confidence}
    void = m.void_of(task)
    miou = partial(m.miou, void=void)
    result: dict[str, Any] = {"folds": [{n: one[n] for n in ("miou", "accuracy", "test")} for one in found]}
    result["mean_of_folds"] = float(np.mean([v for one in found if (v := one["miou"]["value"]) is not None]))
    for name, blocks in counts.items():
        scores = m.class_scores(blocks.sum(axis=0), void)
        ious = interval(blocks, lambda c: m.class_scores(c, void).iou, **options)
        result[name] = {
            "blocks": len(blocks),
            "miou": _ends(interval(blocks, miou, **options)[0]),
            "accuracy": float(m.accuracy(blocks.sum(axis=0))),
            "iou": {c: _ends(iou) for i, (c, iou) in enumerate(zip(classes, ious, strict=True)) if i != void},
            "f1": {c: number(f1) for i, (c, f1) in enumerate(zip(classes, scores.f1, strict=True)) if i != void},
        }
    if "baseline" in counts:
        result["gain"] = _ends(paired_gain(counts["network"], counts["baseline"], miou, **options))
    return result


def _ends(found: Interval) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in found.model_dump().items()}
