"""Losses that leave out unlabelled pixels and stay finite when nothing is labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Term = Literal["cross_entropy", "dice", "focal", "detector"]  # the last is a detector's own, and not of pixels
IGNORE = 255
GAMMA = 2.0  # of the focal loss, as in its paper
MAX_RATIO = 10.0  # between the largest and the smallest class weight


def class_weights(pixels: Sequence[int]) -> Tensor:
    """Weight of each class, float32 ``(classes,)``: inverse square root of its ``pixels``, at most 10 to 1, mean 1."""
    counts = torch.tensor(pixels, dtype=torch.float64).clamp(min=1)
    weights = counts.rsqrt()
    weights = (weights / weights.min()).clamp(max=MAX_RATIO)
    return (weights / weights.mean()).float()


class CombinedLoss(nn.Module):
    """A weighted sum of cross-entropy, dice and focal loss over the labelled pixels of a batch.

    Takes logits ``(n, classes, h, w)`` and labels ``(n, h, w)`` int64, class indices or 255; returns a float32 scalar,
    which is 0 with a gradient of 0 when no pixel is labelled. Cross-entropy and focal loss are means weighted by the
    class of the pixel, and focal loss is ``(1 - p)^2`` times the cross-entropy (Lin et al. 2017, "Focal loss for dense
    object detection", with softmax). Dice is smp's, over the classes that the batch shows; it balances classes by
    itself and takes no weights.
    """

    def __init__(self, terms: Mapping[Term, float], weights: Tensor | None = None) -> None:
        super().__init__()
        self.terms = dict(terms)
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()  # half precision cannot hold a sum over pixels
        total = logits.new_zeros(())
        for term, factor in self.terms.items():
            total = total + factor * (
                self.dice(logits, labels) if term == "dice" else self._pixelwise(term, logits, labels)
            )
        return total

    def by_chip(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each chip, float32 ``(n,)``: a mean over its labelled pixels as above, 0 if it has none."""
        weighted, weight = self._weighted("cross_entropy", logits.float(), labels)
        return weighted.sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-6)

    def _pixelwise(self, term: Term, logits: Tensor, labels: Tensor) -> Tensor:
        weighted, weight = self._weighted(term, logits, labels)
        return weighted.sum() / weight.sum().clamp(min=1e-6)  # torch's own mean is 0 / 0 when all pixels are ignored

    def _weighted(self, term: Term, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted loss and weight of each pixel, ``(n, h, w)``, both 0 where it is not labelled."""
        surprise = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")  # -log p, 0 where ignored
        labelled = labels != IGNORE
        weight = labelled.float() if self.weights is None else self.weights[labels.where(labelled, 0)] * labelled
        loss = surprise if term == "cross_entropy" else (1 - torch.exp(-surprise)) ** GAMMA * surprise
        return weight * loss, weight
