"""Test-time augmentation: a window seen mirrored and turned, and the answers averaged.

Ground has no upside: an image from above that is mirrored or turned by a quarter is as plausible as it was. These are
the eight symmetries of the square; without the quarter turns they are four.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Logits = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (n, bands, h, w) to (n, classes, h, w)


class View(NamedTuple):
    """What is done to rows and columns, in this order."""

    transpose: bool
    down: bool  # mirror the rows
    across: bool  # mirror the columns

    def of(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(..., h, w)``, or ``(..., w, h)`` where transposed."""
        if self.transpose:
            images = images.swapaxes(-2, -1)
        return images[..., :: -1 if self.down else 1, :: -1 if self.across else 1]

    def back(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo ``of``."""
        images = images[..., :: -1 if self.down else 1, :: -1 if self.across else 1]
        return images.swapaxes(-2, -1) if self.transpose else images


def views(count: int) -> tuple[View, ...]:
    """The first 1, 4 or 8 symmetries of the square, the image as it is before all others."""
    return tuple(View(*flags) for flags in product((False, True), repeat=3))[:count]


def calibrated(logits: Logits, temperature: float) -> Logits:
    """Probabilities softmax(logits / ``temperature``) along axis 1 (Guo et al. 2017)."""
    divisor = np.float32(temperature)

    def probabilities(images: NDArray[np.float32]) -> NDArray[np.float32]:
        found = logits(images)
        powers: NDArray[np.float32] = found - found.max(axis=1, keepdims=True)
        powers /= divisor
        np.exp(powers, out=powers)
        powers /= powers.sum(axis=1, keepdims=True)
        return powers

    return probabilities


def averaged(logits: Logits, count: int) -> Logits:
    """``logits`` averaged over ``count`` views of each image; the very function for 1.

    Logits and not probabilities are averaged, so that one temperature calibrates the average as it does a single view.
    """
    if count == 1:
        return logits

    def average(images: NDArray[np.float32]) -> NDArray[np.float32]:
        total: NDArray[np.float32] | None = None
        for view in views(count):
            answer = view.back(logits(np.ascontiguousarray(view.of(images))))
            total = answer.copy() if total is None else np.add(total, answer, out=total)
        assert total is not None
        total /= count
        return total

    return average
