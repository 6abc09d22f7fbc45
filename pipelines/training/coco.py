"""Average precision as COCO has it, of objects found in any number of images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.detection import MeanAveragePrecision


def coco_evaluator() -> MeanAveragePrecision:
    """COCO's evaluator, for ``average_precision``."""
    return MeanAveragePrecision(backend="pycocotools", extended_summary=True, max_detection_thresholds=[1, 100, 10**6])


def average_precision(evaluator: MeanAveragePrecision) -> dict[int, NDArray[np.float64]]:
    """Of each class that is true or found somewhere, by its index: average precision ``(10,)`` at IoU 0.5 to 0.95; NaN
    where it is never true.

    These are the evaluator's own precisions. Its summary takes the first 100 objects of an image alone, and a scene
    holds more.
    """
    found = evaluator.compute()
    precision = found["precision"][:, :, :, 0, -1].double()  # IoU, recall, class; objects of all sizes, and all of them
    each = precision.where(precision >= 0, torch.nan).nanmean(dim=1).T.numpy()
    return dict(zip(np.atleast_1d(found["classes"].numpy()).tolist(), each, strict=True))
