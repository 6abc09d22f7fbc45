from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from pipelines.errors import BadData
from pipelines.evaluation.calibration import BINS, calibration_error, fit_temperature, reliability
from pipelines.evaluation.metrics import IGNORE


def honest(pixels: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``(pixels, 3)`` and classes drawn from exactly their softmax."""
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=1.5, size=(pixels, 3)).astype(np.float32)
    truth = (rng.random(pixels)[:, None] > softmax(logits, 1).cumsum(1)).sum(1).clip(max=2).astype(np.uint8)
    return logits, truth


def error(logits: np.ndarray, truth: np.ndarray) -> float:
    probabilities = softmax(logits, 1)
    return calibration_error(reliability(probabilities.max(1), probabilities.argmax(1) == truth))


@pytest.mark.parametrize("exaggeration", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_a_known_exaggeration(exaggeration):
    logits, truth = honest()
    truth[:1000] = IGNORE
    assert fit_temperature(logits * exaggeration, truth) == pytest.approx(exaggeration, rel=0.05)


def test_scaling_makes_overconfident_logits_honest():
    logits, truth = honest()
    loud = logits * 4
    temperature = fit_temperature(loud[:10_000], truth[:10_000])
    before, after = error(loud[10_000:], truth[10_000:]), error(loud[10_000:] / temperature, truth[10_000:])
    assert before > 0.1
    assert after < 0.02


def test_the_error_agrees_with_torchmetrics():
    logits, truth = honest(4000)
    theirs = multiclass_calibration_error(
        torch.tensor(softmax(logits * 3, 1)), torch.tensor(truth.astype(int)), num_classes=3, n_bins=BINS, norm="l1"
    )
    assert error(logits * 3, truth) == pytest.approx(float(theirs), abs=1e-4)


def test_a_val_split_without_labels_is_refused():
    logits, truth = honest(10)
    with pytest.raises(BadData, match="val split"):
        fit_temperature(logits, np.full_like(truth, IGNORE))
