"""Where windows lie along one axis of a raster, and which pixels they see beyond its borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.config.params import Task
from pipelines.errors import BadData

SIDE = 32  # sides that the networks take are multiples of it


@dataclass(frozen=True)
class Axis:
    """``length`` pixels covered by windows of ``window`` pixels that share at least ``overlap`` with each neighbour.

    The first window begins half an overlap before the raster and the last ends half an overlap after it, so that
    border pixels have context on both sides. The last window is moved back rather than left hanging over the end.
    """

    length: int
    window: int
    overlap: int

    def __post_init__(self) -> None:
        if self.length < 1 or self.window < 1:
            raise BadData(f"An axis of {self.length} pixels cannot be cut into windows of {self.window}.")
        if not 0 <= self.overlap * 2 <= self.window:
            raise BadData(f"An overlap of {self.overlap} is too much for a window of {self.window}; use at most half.")

    @property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each window, ascending; negative before the raster."""
        margin = self.overlap // 2
        last = self.length + margin - self.window
        return (*range(-margin, last, self.window - self.overlap), last) if last > -margin else (-margin,)

    def pixels(self, start: int) -> slice | NDArray[np.intp]:
        """The raster's pixels under the window at ``start``, reflected at the borders as often as need be."""
        if start >= 0 and start + self.window <= self.length:
            return slice(start, start + self.window)
        period = max(2 * (self.length - 1), 1)  # the border pixel itself is not repeated
        steps = np.arange(start, start + self.window) % period
        return np.minimum(steps, period - steps) if self.length > 1 else np.zeros_like(steps)

    def inside(self, start: int) -> tuple[slice, slice]:
        """The part of the window at ``start`` that lies on the raster: in the raster's pixels, and in the window's."""
        first, last = max(start, 0), min(start + self.window, self.length)
        return slice(first, last), slice(first - start, last - start)


def axes(height: int, width: int, window: int, overlap: int, task: Task) -> tuple[Axis, Axis]:
    """Those of the rows and of the columns of a raster, in windows of ``window`` pixels at most.

    A network that answers for each pixel gets windows that are no larger than their number makes necessary, so that
    small rasters, and those a little over a multiple, cost little more than their pixels. One that answers for a window
    as a whole gets the size that it was trained on.
    """
    if task == "classification":
        return Axis(height, window, overlap), Axis(width, window, overlap)
    return _fitted(height, window, overlap), _fitted(width, window, overlap)


def _fitted(length: int, window: int, overlap: int) -> Axis:
    count = len(Axis(length, window, overlap).starts)
    needed = -(-(length + 2 * (overlap // 2) + (count - 1) * overlap) // count)
    least = max(needed, 2 * overlap)
    return Axis(length, min(-(-least // SIDE) * SIDE, window), overlap)
