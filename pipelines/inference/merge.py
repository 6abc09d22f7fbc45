"""How the objects of many windows become those of a raster."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipelines.training.objects import OVERLAP, Objects


def merged(objects: Objects) -> Objects:
    """The objects of a raster from those of its windows, each once, by falling score.

    Windows that overlap see an object several times, and windows that an object does not fit into see parts of it. Of
    whole boxes that are one object the highest score stays. A part that lies in a whole box of its class by half
    vanishes; parts of which one lies in the other by half, or goes on where the other was cut off and agrees with it in
    extent along the cut, are joined, with the highest of their scores.
    So an object no larger than the overlap of windows has the box that one window gave it, wherever windows lie, and a
    larger one the box around what all windows saw.
    """
    objects = objects[np.argsort(-objects.scores, kind="stable")]
    cut = np.asarray(objects.cut.any(axis=1))
    whole, parts = objects[~cut], objects[cut]
    whole = whole[_survivors(whole)]
    meeting = _meeting(parts, whole)
    inside = meeting.common / _areas(parts.boxes)[meeting.one]
    free = np.ones(len(parts), bool)
    free[meeting.one[inside >= OVERLAP]] = False
    found = Objects.joined([whole, _assembled(parts[free])])
    return found[np.argsort(-found.scores, kind="stable")]


class _Meeting(NamedTuple):
    """Pairs of rows whose boxes overlap and are of one class, and the area that both cover."""

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    common: NDArray[np.float32]


def _meeting(some: Objects, others: Objects) -> _Meeting:
    tree = shapely.STRtree(shapely.box(*others.boxes.T))
    one, other = tree.query(shapely.box(*some.boxes.T), predicate="intersects")
    same = some.classes[one] == others.classes[other]
    one, other = one[same], other[same]
    a, b = some.boxes[one], others.boxes[other]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return _Meeting(one, other, np.maximum(sides, 0).prod(axis=1))


def _survivors(whole: Objects) -> NDArray[np.bool_]:
    """Greedy suppression; rows stand in falling order of score. Only boxes that meet are compared."""
    meeting = _meeting(whole, whole)
    areas = _areas(whole.boxes)
    union = areas[meeting.one] + areas[meeting.other] - meeting.common
    same = (meeting.common >= OVERLAP * union) & (meeting.one < meeting.other)
    order = np.argsort(meeting.one[same], kind="stable")
    alive = np.ones(len(whole), bool)
    for better, worse in zip(meeting.one[same][order], meeting.other[same][order], strict=True):
        if alive[better]:
            alive[worse] = False
    return alive


def _assembled(parts: Objects) -> Objects:
    """Parts of the same object as one."""
    if not len(parts):
        return parts
    one, other, common = _meeting(parts, parts)
    a, b = parts.boxes[one], parts.boxes[other]
    areas = _areas(parts.boxes)
    joint = common >= OVERLAP * areas[one]  # a part of a part
    for first, last, along in ((0, 2, slice(1, None, 2)), (1, 3, slice(0, None, 2))):  # side by side, one below another
        follows = parts.cut[one, last] & parts.cut[other, first] & (a[:, first] < b[:, first])
        joint |= follows & (_agreement(a[:, along], b[:, along]) >= OVERLAP)
    links = coo_array((joint[joint], (one[joint], other[joint])), shape=(len(parts), len(parts)))
    count, group = connected_components(links, directed=False)
    boxes = np.concatenate([np.full((count, 2), np.inf), np.full((count, 2), -np.inf)], axis=1).astype(np.float32)
    np.minimum.at(boxes[:, :2], group, parts.boxes[:, :2])
    np.maximum.at(boxes[:, 2:], group, parts.boxes[:, 2:])
    scores = np.zeros(count, np.float32)
    np.maximum.at(scores, group, parts.scores)
    classes = np.zeros(count, np.uint8)
    classes[group] = parts.classes
    return Objects(boxes, scores, classes, np.zeros((count, 4), bool))


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of stretches of an axis, ``(n, 2)`` each."""
    common = np.minimum(one[:, 1], other[:, 1]) - np.maximum(one[:, 0], other[:, 0])
    whole = np.maximum(one[:, 1], other[:, 1]) - np.minimum(one[:, 0], other[:, 0])
    found: NDArray[np.float32] = common / np.maximum(whole, 1e-9)
    return found


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    return found
