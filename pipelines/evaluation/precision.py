"""Average precision of found objects over scored ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.evaluation.objects import BACKGROUND, Truth, counted
from pipelines.training.coco import average_precision, coco_evaluator
from pipelines.training.objects import Objects

Arrays = dict[str, NDArray[Any]]


def precision(found: Sequence[tuple[Truth, Objects]], names: Sequence[str]) -> dict[str, Any]:
    """Average precision by COCO's evaluator over the scored ground of scenes: ``map`` (IoU 0.5 to 0.95) and ``map50``,
    and both of each class but the background; ``None`` where the truth has no object."""
    coco = coco_evaluator()
    for truth, objects in found:
        shown = objects[counted(truth, objects)[0]]
        predicted: Arrays = {"boxes": shown.boxes, "scores": shown.scores, "labels": shown.classes.astype(np.int64)}
        on_ground = truth.boxes.corners[truth.scored], truth.boxes.classes[truth.scored].astype(np.int64)
        coco.update([_tensors(predicted)], [_tensors(dict(zip(("boxes", "labels"), on_ground, strict=True)))])
    each, nothing = average_precision(coco), np.empty(0)
    scores = {
        name: {"ap": _mean(each.get(index, nothing)), "ap50": _mean(each.get(index, nothing)[:1])}
        for index, name in enumerate(names)
        if index != BACKGROUND
    }
    known = [one for one in scores.values() if one["ap"] is not None]
    means = [_mean(np.array([one[key] for one in known], np.float64)) for key in ("ap", "ap50")]
    return {"map": means[0], "map50": means[1], "classes": scores}


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _mean(values: NDArray[np.float64]) -> float | None:
    return round(float(values.mean()), 6) if len(values) and np.isfinite(values).all() else None
