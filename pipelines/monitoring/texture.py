"""How a scene is drawn, whatever its brightness: what blur, coarser pixels, noise and bands out of register change.

Around each sampled pixel lies a piece of its own row. Rows suffice, since these changes act along them as well, and
keep what is measured free of the height of the row bands in which a scene passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.inference.arrays import Array, host

REACH = 8  # pixels of the row to either side
LEAST = 6  # of the steps along the piece that must be usable


def detail_feature(band: str) -> str:
    """The name under which a band's fine detail is watched."""
    return f"detail.{band}"


def register_feature(first: str, second: str) -> str:
    """The name under which it is watched how well two bands agree on where edges are."""
    return f"register.{first}-{second}"


def texture_features(
    bands: Sequence[str],
    pixels: Array,
    usable: NDArray[np.bool_],
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
) -> dict[str, NDArray[np.float32]]:
    """Detail of each band and register of neighbouring ones at ``rows`` and ``cols``, float32 ``(places,)``.

    ``pixels`` is ``(bands, h, w)``, here or on a GPU, ``usable`` ``(h, w)``. Detail is the energy of second
    differences over that of first ones, which is 3 for noise and near 0 for smooth ground (a ratio in the spirit of von
    Neumann 1941). Register is the correlation of the first differences of two bands. Both are NaN where too little is
    usable or all is flat.
    """
    width = pixels.shape[-1]
    length = min(2 * REACH + 1, width)
    along = np.clip(cols - REACH, 0, width - length)[:, None] + np.arange(length)
    piece = host(pixels[:, rows[:, None], along])
    fine = usable[rows[:, None], along]
    steps = np.diff(piece, axis=-1)
    both = fine[:, 1:] & fine[:, :-1]
    steps = np.where(both, steps, np.float32(0))
    bends = np.where(both[:, 1:] & both[:, :-1], np.diff(steps, axis=-1), np.float32(0))
    energy = (steps**2).sum(axis=-1)
    enough = (both.sum(axis=-1) >= min(LEAST, length - 1)) & (energy > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Means, for a masked pixel costs more bends than steps.
        share = both.sum(axis=-1) / np.maximum((both[:, 1:] & both[:, :-1]).sum(axis=-1), 1)
        detail = np.where(enough, (bends**2).sum(axis=-1) / energy * share, np.nan)
        columns = {detail_feature(band): detail[i].astype(np.float32) for i, band in enumerate(bands)}
        for i, (first, second) in enumerate(pairwise(bands)):
            together = (steps[i] * steps[i + 1]).sum(axis=-1) / np.sqrt(energy[i] * energy[i + 1])
            agreed = np.where(enough[i] & enough[i + 1], together, np.nan)
            columns[register_feature(first, second)] = agreed.astype(np.float32)
    return columns
