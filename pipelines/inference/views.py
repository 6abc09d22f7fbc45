"""Test-time augmentation: a window seen mirrored and turned, and the answers averaged.

Ground has no upside: an image from above that is mirrored or turned by a quarter is as plausible as it was. These are
the eight symmetries of the square; without the quarter turns they are four.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from pipelines.inference.arrays import Array, contiguous, copied, namespace

Logits = Callable[[Array], Array]  # (n, bands, h, w) to (n, classes, h, w), both float32 and in the same memory


class View(NamedTuple):
    """What is done to rows and columns, in this order."""

    transpose: bool
    down: bool  # mirror the rows
    across: bool  # mirror the columns

    def of(self, images: Array) -> Array:
        """``(..., h, w)``, or ``(..., w, h)`` where transposed."""
        return self._mirrored(images.swapaxes(-2, -1) if self.transpose else images)

    def back(self, images: Array) -> Array:
        """Undo ``of``."""
        images = self._mirrored(images)
        return images.swapaxes(-2, -1) if self.transpose else images

    def _mirrored(self, images: Array) -> Array:
        axes = [axis for axis, mirror in ((-2, self.down), (-1, self.across)) if mirror]
        return namespace(images).flip(images, axis=tuple(axes)) if axes else images


def views(count: int) -> tuple[View, ...]:
    """The first 1, 4 or 8 symmetries of the square, the image as it is before all others."""
    return tuple(View(*flags) for flags in product((False, True), repeat=3))[:count]


def calibrated(logits: Logits, temperature: float) -> Logits:
    """Probabilities softmax(logits / ``temperature``) along axis 1 (Guo et al. 2017)."""
    divisor = float(np.float32(temperature))

    def probabilities(images: Array) -> Array:
        found = logits(images)
        xp = namespace(found)
        powers = found - xp.max(found, axis=1, keepdims=True)
        powers /= divisor
        xp.exp(powers, out=powers)
        powers /= xp.sum(powers, axis=1, keepdims=True)
        return powers

    return probabilities


def averaged(logits: Logits, count: int) -> Logits:
    """``logits`` averaged over ``count`` views of each image; the very function for 1.

    Logits and not probabilities are averaged, so that one temperature calibrates the average as it does a single view.
    """
    if count == 1:
        return logits

    def average(images: Array) -> Array:
        first, *others = views(count)
        total = copied(first.back(logits(contiguous(first.of(images)))))
        for view in others:
            total += view.back(logits(contiguous(view.of(images))))
        total /= count
        return total

    return average
