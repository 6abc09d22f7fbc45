"""Temperature scaling and calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from pipelines.errors import BadData
from pipelines.evaluation.metrics import IGNORE

BINS = 15  # as in the paper
_WIDEST = np.log(20.0)


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """The temperature T, 1/20 to 20, whose softmax(logits / T) has the least negative log likelihood.

    ``logits`` are ``(pixels, classes)``, ``truth`` ``(pixels,)``; ``IGNORE`` is left out. Raises ``BadData`` where no
    pixel is left or a logit is not finite.
    """
    kept = truth != IGNORE
    if not kept.any():
        raise BadData("no labelled pixel lies in the val split, so the temperature cannot be fitted; widen the split.")
    scores = logits[kept].astype(np.float64)
    if not np.isfinite(scores).all():
        raise BadData("the model gives logits that are not finite on the val split; train it again at a lower rate.")
    right = scores[np.arange(len(scores)), truth[kept]]

    def loss(log_temperature: float) -> float:
        sharpness = np.exp(-log_temperature)
        return float(np.mean(logsumexp(scores * sharpness, axis=1) - right * sharpness))

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def reliability(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Counts behind a reliability diagram, ``(3, BINS)``: pixels, summed confidence and right answers of each bin.

    ``confidence`` is the largest probability of each pixel, ``right`` whether that class is the true one.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return np.stack([np.bincount(bins, weights, BINS) for weights in (None, confidence, right)]).astype(np.float64)


def calibration_error(counts: NDArray[np.float64]) -> float:
    """Expected calibration error, 0 to 1, from counts of ``reliability``; NaN without pixels."""
    pixels, confidence, right = counts
    return float(np.abs(confidence - right).sum() / pixels.sum()) if pixels.sum() else float("nan")
