from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score, roc_auc_score
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex

from pipelines.evaluation import metrics

CLASSES = 4


@pytest.fixture
def field() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, CLASSES, (60, 70)).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, CLASSES, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = metrics.IGNORE
    return truth, predicted


def test_scores_agree_with_torchmetrics_and_sklearn_where_pixels_are_ignored(field):
    truth, predicted = field
    counts = metrics.confusion(truth, predicted, CLASSES)
    tensors = torch.tensor(predicted.astype(int)), torch.tensor(truth.astype(int))
    options = {"num_classes": CLASSES, "ignore_index": metrics.IGNORE}
    assert counts.tolist() == MulticlassConfusionMatrix(**options)(*tensors).tolist()
    assert metrics.miou(counts) == pytest.approx(float(MulticlassJaccardIndex(**options)(*tensors)))
    assert metrics.accuracy(counts) == pytest.approx(float(MulticlassAccuracy(average="micro", **options)(*tensors)))
    kept = truth != metrics.IGNORE
    scores = metrics.class_scores(counts)
    for ours, theirs in [(scores.precision, precision_score), (scores.recall, recall_score), (scores.f1, f1_score)]:
        assert ours == pytest.approx(theirs(truth[kept], predicted[kept], average=None))


def test_a_class_that_the_truth_lacks_has_no_score_and_one_never_predicted_has_zero():
    counts = np.array([[5, 0, 1], [2, 0, 0], [0, 0, 0]])
    scores = metrics.class_scores(counts)
    assert scores.iou[0] == pytest.approx(5 / 8)
    assert (scores.iou[1], scores.precision[1]) == (0, 0)
    assert np.isnan(scores.iou[2])
    assert metrics.miou(counts) == pytest.approx(5 / 16)
    assert np.isnan(metrics.miou(np.zeros((3, 3), int)))


@given(arrays.arrays(np.int64, (5, 3, 3), elements=st.integers(0, 50)))
def test_counts_of_many_draws_score_like_each_alone(counts):
    assert metrics.miou(counts) == pytest.approx([float(metrics.miou(c)) for c in counts], nan_ok=True)


def test_boundary_score_forgives_two_pixels_and_no_more():
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 1

    def shifted(by: int) -> float:
        predicted = np.zeros_like(truth)
        predicted[:, 20 + by :] = 1
        return metrics.boundary_f(metrics.boundary_counts(truth, predicted, 2))

    assert shifted(0) == shifted(2) == 1
    assert shifted(3) == 0


def test_boundary_score_is_the_mean_over_classes_of_what_precision_and_recall_make_of_each():
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 1
    predicted = np.zeros_like(truth)
    predicted[:, 20:30] = 1  # a second edge at 30, where the truth has none
    predicted[:20, 33:36] = 2  # of a class without a boundary in the truth, which has no score
    counts = metrics.boundary_counts(truth, predicted, 3)
    # class 0: its column 19, and column 30 and the outline of the third class about it; class 1: columns 20 and 29
    outline = 40 + 20 * 2 + 3
    assert counts.tolist() == [[40, 40 + outline, 40, 40], [40, 80, 40, 40], [0, 20 * 2 + 1, 0, 0]]
    each = [2 * p / (p + 1) for p in (40 / (40 + outline), 40 / 80)]  # all of the truth's boundary is found
    assert metrics.boundary_f(counts) == pytest.approx(np.mean(each))
    assert np.isnan(metrics.boundary_f(counts[2:]))


def test_ignored_pixels_make_no_boundary():
    truth = np.zeros((20, 20), np.uint8)
    truth[5:10, 5:10] = metrics.IGNORE
    assert metrics.boundary_counts(truth, np.zeros_like(truth), 2).sum() == 0


def test_curves_agree_with_sklearn_to_the_width_of_a_bin():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 5000).astype(np.uint8)
    logits = rng.normal(size=(3, truth.size)) + 1.5 * (np.arange(3)[:, None] == truth)
    probabilities = (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)
    truth[:500] = metrics.IGNORE
    curves = metrics.curves(metrics.score_histogram(probabilities, truth))
    kept = truth != metrics.IGNORE
    for index in range(3):
        right = truth[kept] == index
        area = np.trapezoid(np.r_[0, curves.recall[index]], np.r_[0, curves.false_positives[index]])
        assert area == pytest.approx(roc_auc_score(right, probabilities[index, kept]), abs=2e-3)
        precision, recall, thresholds = precision_recall_curve(right, probabilities[index, kept])
        middle = np.searchsorted(thresholds, 0.5)
        at = int(np.flatnonzero(curves.threshold == 0.5)[0])
        assert curves.precision[index, at] == pytest.approx(precision[middle])
        assert curves.recall[index, at] == pytest.approx(recall[middle])
