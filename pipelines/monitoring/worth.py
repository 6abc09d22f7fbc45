"""Which places are most worth a person's labels: where the model doubts, on ground unlike what it was trained on.

A look is the mean and the standard deviation of each band within a place, in physical units: light and texture, and
little enough that the distances between looks still mean something where training had few places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-6
"""Physical units: what a part of a look differs by at least from place to place, for ground that is all the same."""


def look_of(pixels: NDArray[np.floating], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The look of a place, float32 ``(2 * bands,)``.

    ``pixels`` is ``(bands, h, w)`` in physical units, ``usable`` ``(h, w)``, of which at least one pixel is ``True``.
    """
    seen = pixels[:, usable].astype(np.float64)
    return np.concatenate([seen.mean(axis=1), seen.std(axis=1)]).astype(np.float32)


def choose(
    doubt: NDArray[np.floating], looks: NDArray[np.floating], known: NDArray[np.floating], most: int
) -> list[int]:
    """The numbers of at most ``most`` places, the one most worth labelling first.

    ``doubt`` ``(places,)`` is what the model's confidence lacks to 1, ``looks`` ``(places, d)`` and ``known``
    ``(m, d)`` are looks of the places and of training ground. Each step takes the place of which the product of doubt
    and distance to the nearest look that is known or taken is largest: the greedy cover of Sener and Savarese (2018,
    "Active learning for convolutional neural networks: a core-set approach") with distances weighted by doubt, so that
    what is taken is unsure, unlike the training ground and unlike itself. Distances are in standard deviations of
    ``known``. Where nothing is known, the place of most doubt comes first, and the places measure themselves.
    """
    deviation = np.maximum((known if len(known) else looks).std(axis=0), LEAST)
    places, reached = looks / deviation, known / deviation
    nearest = np.ones(len(places))
    if len(known):
        nearest = np.array([np.linalg.norm(reached - place, axis=1).min() for place in places])
    taken: list[int] = []
    while len(taken) < min(most, len(places)):
        gain = doubt * nearest
        gain[taken] = -1
        taken.append(int(np.argmax(gain)))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[taken[-1]], axis=1))
    return taken
