"""Which found objects are right, by cases whose answer is known, and average precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipelines.evaluation import metrics as m
from pipelines.evaluation.objects import Truth, best_threshold, matched, tally_objects
from pipelines.evaluation.precision import precision
from pipelines.evaluation.score import Tally, by
from pipelines.labels.boxes import Boxes
from pipelines.training.objects import Objects
from tests.builders import write_scene

NAMES = ["ground", "house", "tree"]


def objects(boxes: list[list[float]], scores: list[float], classes: list[int] | None = None) -> Objects:
    count = len(boxes)
    corners = np.array(boxes, np.float32).reshape(count, 4)
    kinds = np.array(classes or [1] * count, np.uint8)
    return Objects(corners, np.array(scores, np.float32), kinds, np.zeros((count, 4), bool))


@pytest.fixture
def truth(tmp_path) -> Truth:
    """Two blocks side by side, 100 pixels each, and ground beyond them that is not scored."""
    pixels: NDArray[np.uint16] = np.ones((1, 100, 300), np.uint16)
    scene = write_scene(tmp_path, pixels, id="town")
    boxes = Boxes(
        np.array([[10, 10, 30, 30], [60, 10, 80, 30], [120, 10, 140, 30], [220, 10, 240, 30]], np.float32),
        np.array([1, 1, 2, 1], np.uint8),
    )
    chips = pd.DataFrame({"row": [0, 0], "col": [0, 100], "size": [100, 100], "block_id": ["a", "b"]})
    return Truth(scene, boxes, np.array(["a", "a", "b", None], object), chips)


def test_an_object_is_found_once_and_by_the_highest_score(truth: Truth) -> None:
    found = objects([[11, 10, 31, 30], [10, 10, 30, 30], [61, 11, 81, 31], [119, 10, 139, 30]], [0.9, 0.8, 0.7, 0.6])
    assert matched(truth, found).tolist() == [0, -1, 1, -1]  # the last is of another class


def test_what_is_missed_invented_and_confused_is_counted_where_it_lies(truth: Truth) -> None:
    tally = Tally(len(NAMES))
    found = objects([[10, 10, 30, 30], [120, 10, 140, 30], [220, 10, 240, 30], [270, 10, 290, 30]], [0.9] * 4)
    tally_objects(tally, truth, found)
    assert tally.blocks["a", "town"].tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]  # one house found, one missed
    assert tally.blocks["b", "town"].tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]  # a tree missed, a house invented
    total = by(tally.frame("network"), "block_id", 3)[1].sum(axis=0)
    scores = m.class_scores(total, void=0)
    assert np.isnan(scores.iou[0]) and scores.iou[1:].tolist() == [pytest.approx(1 / 3), 0.0]
    assert float(m.miou(total, void=0)) == pytest.approx(1 / 6)


def test_objects_beyond_the_ground_count_neither_way(truth: Truth) -> None:
    right = [[10, 10, 30, 30], [60, 10, 80, 30], [120, 10, 140, 30]]
    within = objects(right, [0.9, 0.8, 0.7], [1, 1, 2])
    more = objects([*right, [220, 10, 240, 30], [270, 60, 290, 80]], [0.9, 0.8, 0.7, 0.95, 0.99], [1, 1, 2, 1, 1])
    loose = objects([*right, [217, 7, 243, 33]], [0.9, 0.8, 0.7, 0.95], [1, 1, 2, 1])
    for found in (within, more, loose):
        scores = precision([(truth, found)], NAMES)
        assert scores["map"] == 1.0 and scores["map50"] == 1.0
        assert scores["classes"] == {"house": {"ap": 1.0, "ap50": 1.0}, "tree": {"ap": 1.0, "ap50": 1.0}}


def test_average_precision_of_a_known_list(truth: Truth) -> None:
    """Right, wrong, right by falling score: precision 1 up to recall 1/2, then 2/3, at COCO's 101 points of recall."""
    found = objects([[10, 10, 30, 30], [40, 60, 60, 80], [60, 10, 80, 30]], [0.9, 0.8, 0.7])
    expected = (51 * 1.0 + 50 * 2 / 3) / 101
    scores = precision([(truth, found)], NAMES)["classes"]
    assert scores["house"]["ap50"] == pytest.approx(expected, abs=1e-4) and scores["tree"]["ap50"] == 0.0


def test_a_scene_may_hold_more_objects_than_a_photograph(truth: Truth) -> None:
    corners = np.array([[x, y, x + 3, y + 3] for x in range(0, 100, 5) for y in range(0, 100, 5)], np.float32)
    count = len(corners)
    full = replace(truth, boxes=Boxes(corners, np.ones(count, np.uint8)), blocks=np.full(count, "a", object))
    assert count == 400
    assert precision([(full, objects(corners.tolist(), [0.9] * count))], NAMES)["map"] == 1.0


def test_a_box_that_is_off_counts_at_half_overlap_and_not_above(truth: Truth) -> None:
    found = objects([[14, 10, 34, 30], [64, 10, 84, 30]], [0.9, 0.8])  # 16 of 24 columns: IoU 2/3
    house = precision([(truth, found)], NAMES)["classes"]["house"]
    assert house["ap50"] == 1.0 and house["ap"] == pytest.approx(0.4)  # at 0.5, 0.55, 0.6 and 0.65 of ten


def test_the_threshold_parts_what_is_right_from_what_is_not(truth: Truth) -> None:
    found = objects([[10, 10, 30, 30], [60, 10, 80, 30], [40, 60, 60, 80], [5, 60, 20, 80]], [0.9, 0.6, 0.4, 0.3])
    assert best_threshold([(truth, found)]) == pytest.approx(0.5)
    assert best_threshold([(truth, objects([], []))]) == 0.5
    wrong = [[5.0, y, 20, y + 8] for y in (40, 50, 60, 70)]
    tied = objects([[10, 10, 30, 30], [60, 10, 80, 30], *wrong], [0.9] + [0.5] * 5)
    assert best_threshold([(truth, tied)]) == pytest.approx(0.7)  # the second house cannot be had without what is wrong
