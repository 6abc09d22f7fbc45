"""How the objects of many windows become those of a raster."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.training.objects import OVERLAP, Objects


def merged(objects: Objects) -> Objects:
    """The objects of a raster from those of its windows, each once, by falling score.

    Windows that overlap see an object several times, and windows that an object does not fit into see parts of it. Of
    whole boxes that are one object the highest score stays. A part that lies in a whole box of its class by half
    vanishes; parts that touch and agree in their extent along one axis are joined, with the highest of their scores.
    So an object no larger than the overlap of windows has the box that one window gave it, wherever windows lie, and a
    larger one the box around what all windows saw.
    """
    order = np.lexsort((-objects.scores, objects.cut))
    objects = objects[order]
    whole = objects[_survivors(objects[~objects.cut])]
    parts = objects[objects.cut]
    free = np.ones(len(parts), bool)
    for part, box in _meeting(parts, whole):
        inside = _intersection(parts.boxes[part], whole.boxes[box]) / _area(parts.boxes[part])
        free[part] &= inside < OVERLAP
    found = Objects.joined([whole, _assembled(parts[free])])
    return found[np.argsort(-found.scores, kind="stable")]


def _survivors(whole: Objects) -> NDArray[np.int64]:
    """Greedy suppression, rows in falling order of score."""
    import torch
    from torchvision.ops import batched_nms

    given = (torch.from_numpy(whole.boxes), torch.from_numpy(whole.scores), torch.from_numpy(whole.classes).long())
    kept: NDArray[np.int64] = batched_nms(*given, OVERLAP).numpy()
    return np.sort(kept)


def _assembled(parts: Objects) -> Objects:
    """Parts of the same object as one."""
    group = np.arange(len(parts))

    def root(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    for one, other in _meeting(parts, parts):
        a, b = parts.boxes[one], parts.boxes[other]
        if one < other and max(_agreement(a[0::2], b[0::2]), _agreement(a[1::2], b[1::2])) >= OVERLAP:
            group[root(other)] = root(one)
    roots = np.array([root(i) for i in range(len(parts))], np.int64)
    boxes, scores = parts.boxes.copy(), parts.scores.copy()
    for i, r in enumerate(roots):
        boxes[r] = [*np.minimum(boxes[r, :2], parts.boxes[i, :2]), *np.maximum(boxes[r, 2:], parts.boxes[i, 2:])]
        scores[r] = max(scores[r], parts.scores[i])
    first = np.unique(roots)
    return Objects(boxes[first], scores[first], parts.classes[first], np.zeros(len(first), bool))


def _meeting(some: Objects, others: Objects) -> list[tuple[int, int]]:
    """Pairs of rows whose boxes meet and are of the same class."""
    if not len(some) or not len(others):
        return []
    tree = shapely.STRtree(shapely.box(*others.boxes.T))
    pairs = tree.query(shapely.box(*some.boxes.T), predicate="intersects").T
    return [(int(a), int(b)) for a, b in pairs if some.classes[a] == others.classes[b]]


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two stretches of an axis."""
    common = min(one[1], other[1]) - max(one[0], other[0])
    return float(common / (max(one[1], other[1]) - min(one[0], other[0])))


def _intersection(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.prod(np.maximum(sides, 0)))


def _area(box: NDArray[np.float32]) -> float:
    return max(float(np.prod(box[2:] - box[:2])), 1e-9)
