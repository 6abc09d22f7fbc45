"""Weights by which overlapping windows are averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.inference.windows import Axis


def weights(axis: Axis) -> NDArray[np.float32]:
    """Weights ``(windows, window)`` that sum to one on each pixel of the axis.

    Each window's weight is zero in the outer quarter of the overlap, where the network saw an edge that is none, and
    rises linearly across the middle half; what several windows give a pixel is divided by its total. So a network that
    looks no further than that quarter gives the same map wherever its windows lie. Windows form a grid, so the product
    of the weights of both axes sums to one too.
    """
    margin = axis.overlap // 4
    steps = np.arange(axis.window) + 0.5
    ramp = np.clip((np.minimum(steps, steps[::-1]) - margin) / max(axis.overlap - 2 * margin, 1), 0.0, 1.0)
    total = np.zeros(axis.length)
    for start in axis.starts:
        on_raster, in_window = axis.inside(start)
        total[on_raster] += ramp[in_window]
    shares = np.zeros((len(axis.starts), axis.window))
    for share, start in zip(shares, axis.starts, strict=True):
        on_raster, in_window = axis.inside(start)
        share[in_window] = ramp[in_window] / total[on_raster]
    return shares.astype(np.float32)
