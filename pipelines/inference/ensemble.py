"""Several models that answer as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipelines.bundle.session import Precision
from pipelines.bundle.store import Bundle
from pipelines.errors import BadData
from pipelines.inference.arrays import Array, namespace
from pipelines.inference.runtime import Runtime


class Ensemble:
    """Several models as one ``Predictor``: their probabilities averaged, and how far they disagree.

    The answer has a channel after the classes: the mutual information of class and model, which is the entropy of the
    mean probabilities less the mean entropy, of the logarithm of the number of classes (Gal, Islam and Ghahramani 2017,
    "Deep Bayesian Active Learning with Image Data"). It is 0 where all say the same, however unsure, and 1 at most.
    """

    def __init__(self, bundles: Sequence[Bundle], precisions: Sequence[Precision | None] = ()) -> None:
        """The first bundle's contract is that of all. Raises ``BadData`` where one takes or gives something else.

        ``precisions`` are as a runtime's, one for each bundle.
        """
        self.bundles = tuple(bundles)
        first, *others = self.bundles
        for other in others:
            _require_same(first, other)
        asked = precisions or [None] * len(self.bundles)
        self._members = [Runtime(bundle, precision=each) for bundle, each in zip(self.bundles, asked, strict=True)]
        self.calls = self._members[0].calls
        self.device = self._members[0].device
        self.engine = "+".join(member.engine for member in self._members)
        self.digest = "+".join(member.digest for member in self._members)
        self.channels = self._members[0].channels + 1
        self.resident_bytes = self._members[-1].resident_bytes

    def __call__(self, pixels: Array, /) -> Array:
        """``(n, classes + 1, h, w)`` of filled pixels ``(n, bands, h, w)``."""
        answers = [member(pixels) for member in self._members]
        mean = sum(answers[1:], answers[0]) / len(answers)
        doubts = [entropy(answer, axis=1) for answer in answers]
        apart = entropy(mean, axis=1) - sum(doubts[1:], doubts[0]) / len(doubts)
        return namespace(mean).concat([mean, apart.clip(0, 1)[:, None]], axis=1)

    @property
    def free_bytes(self) -> int | None:
        return self._members[0].free_bytes

    def working_bytes(self, pixels: int) -> int:
        """Models run one after another; the answers of all are held."""
        answers = 4 * self.channels * pixels * len(self._members)
        return max(member.working_bytes(pixels) for member in self._members) + answers


def entropy(probabilities: Array, axis: int) -> Array:
    """Shannon's entropy along ``axis``, of that of equal probabilities."""
    xp = namespace(probabilities)
    logarithms = xp.log(probabilities.clip(float(np.finfo(np.float32).tiny), 1))
    return -xp.sum(probabilities * logarithms, axis=axis) / math.log(probabilities.shape[axis])


def _require_same(first: Bundle, other: Bundle) -> None:
    ours, theirs = first.contract, other.contract
    if ours.task == "detection" or theirs.task == "detection":
        raise BadData("Detectors cannot be averaged; name one model.")
    for name, one, another in (
        ("bands", [(b.name, b.units) for b in ours.bands], [(b.name, b.units) for b in theirs.bands]),
        ("tasks", ours.task, theirs.task),
        ("classes", [c.name for c in ours.classes], [c.name for c in theirs.classes]),
    ):
        if one != another:
            raise BadData(f"{first.name} and {other.name} cannot be averaged: their {name} are {one} and {another}.")
    if ours.task == "classification" and ours.window != theirs.window:
        sizes = f"{ours.window} and {theirs.window} px"
        raise BadData(f"{first.name} and {other.name} cannot be averaged: they classify pictures of {sizes}.")
