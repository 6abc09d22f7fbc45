"""Scores from counts: confusion matrices, boundary agreement, and precision-recall and ROC curves.

Everything is a count that adds up over windows, blocks and scenes, so that no score needs all pixels at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.config.params import Task

IGNORE = 255  # truth of a pixel that is masked, unlabelled or outside the ground that is scored
CURVE_BINS = 256

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> Counts:
    """Pixel counts ``(classes, classes)``, rows the truth and columns the prediction; ``IGNORE`` is left out."""
    kept = truth != IGNORE
    pairs = truth[kept].astype(np.int64) * classes + predicted[kept]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class ``(..., classes)``, NaN where the truth has no pixel of the class."""

    iou: Values
    precision: Values
    recall: Values
    f1: Values
    support: Counts  # pixels of the truth


def class_scores(counts: Counts, void: int | None = None) -> ClassScores:
    """Scores from confusion counts ``(..., classes, classes)``; leading axes are kept.

    A class that the truth has but nobody predicted has precision 0. ``void`` is a class that only tells what was missed
    and what was invented, as the background of objects does; its own scores are NaN.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    support = counts.sum(axis=-1)
    predicted = counts.sum(axis=-2)
    present = support > 0
    if void is not None:
        present[..., void] = False

    def ratio(part: Values, whole: NDArray) -> Values:
        return np.where(present, part / np.maximum(whole, 1), np.nan)

    return ClassScores(
        iou=ratio(hits, support + predicted - hits),
        precision=ratio(hits, predicted),
        recall=ratio(hits, support),
        f1=ratio(2 * hits, support + predicted),
        support=support,
    )


def miou(counts: Counts, void: int | None = None) -> Values:
    """Mean IoU ``(...)`` over the classes that the truth has but ``void``; NaN where it has none."""
    return _mean(class_scores(counts, void).iou)


def mean_f1(counts: Counts, void: int | None = None) -> Values:
    """Mean F1 ``(...)`` over the classes that the truth has but ``void``; NaN where it has none."""
    return _mean(class_scores(counts, void).f1)


def void_of(task: Task) -> int | None:
    """The class of ``task`` without scores of its own: of objects the background, which is the first."""
    return 0 if task == "detection" else None


def accuracy(counts: Counts) -> Values:
    """Share ``(...)`` of pixels that are right; NaN where there are none."""
    total = counts.sum(axis=(-2, -1))
    return np.where(total > 0, np.trace(counts, axis1=-2, axis2=-1) / np.maximum(total, 1), np.nan)


def boundary_counts(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, tolerance: int = 2) -> Counts:
    """Counts ``(classes, 4)`` behind the boundary F score of Csurka et al. (2013): boundary pixels of the prediction
    that lie within ``tolerance`` pixels of the truth's boundary, all of the prediction's, and the two of the truth.

    A pixel is on the boundary of its class if one of its four neighbours is of another one; ``IGNORE`` pixels of the
    truth neither have boundaries nor make any.
    """
    usable = truth != IGNORE
    drawn = np.where(usable, predicted, IGNORE).astype(np.uint8)
    edges = _edges(truth, usable), _edges(drawn, usable)
    reach = np.hypot(*np.mgrid[-tolerance : tolerance + 1, -tolerance : tolerance + 1]) <= tolerance
    counts = np.zeros((classes, 4), np.int64)
    for index in range(classes):
        of_truth, of_prediction = edges[0] & (truth == index), edges[1] & (drawn == index)
        near_truth = ndimage.binary_dilation(of_truth, reach)
        near_prediction = ndimage.binary_dilation(of_prediction, reach)
        counts[index] = (
            np.count_nonzero(of_prediction & near_truth),
            np.count_nonzero(of_prediction),
            np.count_nonzero(of_truth & near_prediction),
            np.count_nonzero(of_truth),
        )
    return counts


def boundary_f(counts: Counts) -> float:
    """Mean boundary F over the classes with a boundary in the truth; NaN if there is none. See ``boundary_counts``."""
    counts = counts[counts[:, 3] > 0]
    if not len(counts):
        return float("nan")
    precision = counts[:, 0] / np.maximum(counts[:, 1], 1)
    recall = counts[:, 2] / counts[:, 3]
    return float(np.mean(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def score_histogram(probabilities: NDArray[np.float32], truth: NDArray[np.uint8]) -> Counts:
    """How often each class got which probability: ``(classes, 2, CURVE_BINS)``, first where the class is wrong, then
    where it is right.

    ``probabilities`` are ``(classes, pixels)`` in 0..1, ``truth`` ``(pixels,)``; ``IGNORE`` is left out.
    """
    kept = truth != IGNORE
    bins = np.minimum((probabilities[:, kept] * CURVE_BINS).astype(np.int64), CURVE_BINS - 1)
    right = truth[kept] == np.arange(len(probabilities))[:, None]
    flat = (np.arange(len(probabilities))[:, None] * 2 + right) * CURVE_BINS + bins
    size = len(probabilities) * 2 * CURVE_BINS
    return np.bincount(flat.ravel(), minlength=size).reshape(len(probabilities), 2, CURVE_BINS)


@dataclass(frozen=True)
class Curves:
    """One point a threshold, falling; each array is ``(classes, CURVE_BINS)``, NaN for classes the truth lacks."""

    threshold: Values  # (CURVE_BINS,)
    precision: Values
    recall: Values  # the true positive rate
    false_positives: Values  # the false positive rate


def curves(histogram: Counts) -> Curves:
    """One-against-the-rest curves from counts of ``score_histogram``: a class is claimed from a threshold upwards."""
    claimed = np.cumsum(histogram[:, :, ::-1], axis=-1).astype(np.float64)
    false, true = claimed[:, 0], claimed[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = true / true[:, -1:]
        false_positives = false / false[:, -1:]
        precision = np.where(true + false > 0, true / np.maximum(true + false, 1), 1.0)
    precision[true[:, -1] == 0] = np.nan
    return Curves(np.arange(CURVE_BINS)[::-1] / CURVE_BINS, precision, recall, false_positives)


def _edges(labels: NDArray[np.uint8], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edges = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        here, there = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        differs = (labels[here] != labels[there]) & usable[here] & usable[there]
        edges[here] |= differs
        edges[there] |= differs
    return edges


def _mean(values: Values) -> Values:
    present = ~np.isnan(values)
    count = present.sum(axis=-1)
    return np.where(count > 0, np.where(present, values, 0).sum(axis=-1) / np.maximum(count, 1), np.nan)
