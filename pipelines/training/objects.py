"""Boxes around objects, as a detector gives them for one image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.5  # IoU from which two boxes of a class are one object, as in COCO
FLOOR = 0.2  # least score of a box that is looked at, as in FCOS
_MOST = 1000  # boxes of a window


@dataclass(frozen=True)
class Objects:
    """Boxes in pixels of a raster or window, corners at the edges of pixels. ``n`` rows each."""

    boxes: NDArray[np.float32]  # (n, 4): left, top, right, bottom
    scores: NDArray[np.float32]  # (n,), 0 to 1
    classes: NDArray[np.uint8]  # (n,), index of the class; 0 is the background and never there
    cut: NDArray[np.bool_]  # (n, 4), whether an edge of a window cut the object off at its left, top, right, bottom

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def none(cls) -> Self:
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.uint8), np.empty((0, 4), bool))

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        parts = [cls.none(), *parts]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def suppressed(answer: NDArray[np.float32]) -> Objects:
    """The objects of one window from a detector's answer ``(places, 4 + classes)``: of boxes of a class that overlap
    by ``OVERLAP``, the one with the highest score."""
    import torch  # here, so that whoever maps pixels does not load it
    from torchvision.ops import batched_nms

    places, classes = np.nonzero(answer[:, 5:] > FLOOR)
    boxes, scores = answer[places, :4], answer[places, 5 + classes]
    kept = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes), OVERLAP)
    rows = kept.numpy()[:_MOST]
    return Objects(boxes[rows], scores[rows], (classes[rows] + 1).astype(np.uint8), np.zeros((len(rows), 4), bool))
