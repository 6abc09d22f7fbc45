"""Scoring found objects: which are true, counted by block of ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from pipelines.evaluation.metrics import Counts
from pipelines.evaluation.score import Tally
from pipelines.inference.raster import RasterSource
from pipelines.labels.boxes import Boxes
from pipelines.scenes.scene import Scene
from pipelines.training.objects import OVERLAP, Objects

BACKGROUND = 0


@dataclass(frozen=True)
class Truth:
    """All true objects of a scene. Those outside the ground that is scored count neither for nor against."""

    scene: Scene
    boxes: Boxes
    blocks: NDArray[
        np.object_
    ]  # (n,): block of ground that the object's centre lies in; None outside, and where masked
    chips: pd.DataFrame  # of the ground: row, col, size, block_id

    @property
    def scored(self) -> NDArray[np.bool_]:
        return np.array([block is not None for block in self.blocks], bool)

    def blocks_at(self, corners: NDArray[np.float32]) -> NDArray[np.object_]:
        return _blocks_at(corners, self.chips)


def truth_of(scene: Scene, boxes: Boxes, chips: pd.DataFrame, source: RasterSource) -> Truth:
    """The objects of ``scene`` on the ground of ``chips``, which do not overlap."""
    blocks = _blocks_at(boxes.corners, chips)
    for i in np.flatnonzero([block is not None for block in blocks]):
        x, y = ((boxes.corners[i, :2] + boxes.corners[i, 2:]) / 2).astype(int)
        _, mask = source.block(Window(min(x, scene.width - 1), min(y, scene.height - 1), 1, 1))
        if mask.any():
            blocks[i] = None
    return Truth(scene, boxes, blocks, chips)


def matched(truth: Truth, objects: Objects) -> NDArray[np.int64]:
    """For each of ``objects``, by falling score, the row of the true object that it is, or -1.

    As in COCO: of the objects of its class that it overlaps by ``OVERLAP`` and that no higher score has taken, the one
    that it overlaps most, those on the scored ground first.
    """
    found = np.full(len(objects), -1, np.int64)
    tree = shapely.STRtree(shapely.box(*truth.boxes.corners.T))
    one, other = tree.query(shapely.box(*objects.boxes.T), predicate="intersects")
    a, b = objects.boxes[one], truth.boxes.corners[other]
    common = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(axis=1)
    whole = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - common
    fitting = (common >= OVERLAP * whole) & (objects.classes[one] == truth.boxes.classes[other])
    scored = truth.scored[other]
    # by falling score, and of an object those on the ground first, then those that it overlaps most
    order = np.lexsort((-common / np.maximum(whole, 1e-9), ~scored, one, -objects.scores[one]))
    free = np.ones(len(truth.boxes.corners), bool)
    for i in order[fitting[order]]:
        if found[one[i]] < 0 and free[other[i]]:
            found[one[i]], free[other[i]] = other[i], False
    return found


def counted(truth: Truth, objects: Objects) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of ``objects`` count at all, and which of these are right: those that are a true object count where that
    one lies, and all others where they lie themselves."""
    pairs = matched(truth, objects)
    inside = np.array([block is not None for block in truth.blocks_at(objects.boxes)], bool)
    there = np.append(truth.scored, False)[pairs]  # -1 is nowhere
    return np.where(pairs >= 0, there, inside), pairs >= 0


def tally_objects(tally: Tally, truth: Truth, objects: Objects) -> None:
    """Count ``objects``, those above the threshold, into the blocks of the ground: pairs of true and found class, where
    the background stands for what is not there or was not found."""
    for block in truth.chips["block_id"].unique():
        tally.blocks.setdefault((block, truth.scene.id), _nothing(tally.classes))
    pairs = matched(truth, objects)
    for block, index in zip(truth.blocks_at(objects.boxes)[pairs < 0], objects.classes[pairs < 0], strict=True):
        if block is not None:
            tally.blocks[block, truth.scene.id][BACKGROUND, index] += 1
    hit = np.isin(np.arange(len(truth.blocks)), pairs)
    for block, index, right in zip(truth.blocks, truth.boxes.classes, hit, strict=True):
        if block is not None:
            tally.blocks[block, truth.scene.id][index, index if right else BACKGROUND] += 1


def best_threshold(found: Sequence[tuple[Truth, Objects]]) -> float:
    """The score above which objects have the highest F1, all classes and scenes together; 0.5 where none is right."""
    right, scores, total = [np.empty(0, bool)], [np.empty(0, np.float32)], 0
    for truth, objects in found:
        counts, true = counted(truth, objects)
        right.append(true[counts])
        scores.append(objects.scores[counts])
        total += int(truth.scored.sum())
    hits, score = np.concatenate(right), np.concatenate(scores)
    if not hits.any():
        return 0.5
    order = np.argsort(-score, kind="stable")
    hits, score = hits[order], score[order]
    f1 = 2 * np.cumsum(hits) / (np.arange(1, len(hits) + 1) + max(total, 1))
    following = np.append(score[1:], 0.0)
    best = int(np.argmax(np.where(score > following, f1, -1)))  # equal scores stand or fall together
    return float((score[best] + following[best]) / 2)  # between two scores, so that rounding decides nothing


def _blocks_at(corners: NDArray[np.float32], chips: pd.DataFrame) -> NDArray[np.object_]:
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    found = np.full(len(centres), None, object)
    for chip in chips.itertuples():
        inside = (centres >= [chip.col, chip.row]).all(axis=1)
        inside &= (centres < [chip.col + chip.size, chip.row + chip.size]).all(axis=1)
        found[inside] = chip.block_id
    return found


def _nothing(classes: int) -> Counts:
    return np.zeros((classes, classes), np.int64)
