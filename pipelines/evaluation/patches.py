"""The bar that a detector has to clear: the patches that a random forest of single pixels makes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.evaluation.objects import BACKGROUND
from pipelines.inference.strip import Source
from pipelines.training.objects import Objects

_ROWS = 512


def patches(
    source: Source, classify: Callable[[NDArray[np.float32]], NDArray[np.uint8]], classes: int, least: float
) -> Objects:
    """Boxes around connected pixels of a class, by a classifier of single pixels, ``(pixels, bands)`` to ``(pixels,)``.

    Patches whose longer side is under ``least`` pixels are left out. All scores are 1.
    """
    shown = np.zeros((source.height, source.width), np.uint8)
    for top in range(0, source.height, _ROWS):
        rows = slice(top, min(top + _ROWS, source.height))
        pixels, mask = source.read(rows)
        if (usable := mask == 0).any():
            shown[rows][usable] = classify(pixels[:, usable].T)
    boxes, found = [], []
    for index in range(classes):
        if index == BACKGROUND:
            continue
        numbered, _ = ndimage.label(shown == index)
        for rows, columns in ndimage.find_objects(numbered):
            if max(rows.stop - rows.start, columns.stop - columns.start) >= least:
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                found.append(index)
    count = len(boxes)
    corners = np.array(boxes, np.float32).reshape(count, 4)
    return Objects(corners, np.ones(count, np.float32), np.array(found, np.uint8), np.zeros((count, 4), bool))
