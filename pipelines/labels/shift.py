"""How far labels lie off the image that they were drawn for, measured from the edges of both."""

from __future__ import annotations

import numpy as np
import scipy  # its parts load when they are first used, so stages that never do start faster
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

REACH = 12  # pixels; largest shift that can be measured
_FIELD = 3 * REACH  # pixels; how far rivals are looked for, so that chance matches show themselves as such
_PEAK = 1.5  # the best place must beat the second best by this ratio to count as measured
_LEAST_EDGES = 64  # pixels of label edge
_UNLABELLED = 255


class Shift(BaseModel):
    """Move the labels by ``dx`` columns and ``dy`` rows and they fit the image best."""

    model_config = ConfigDict(frozen=True)

    dx: float  # pixels, positive to the right
    dy: float  # pixels, positive downwards
    pixels: float  # length of (dx, dy)
    measurable: bool  # false where the image shows no edges like those of the labels
    peak: float  # height of the best match over the second best, at least 1


def measure_shift(image: NDArray[np.float32], labels: NDArray[np.uint8], usable: NDArray[np.bool_]) -> Shift:
    """Shift between ``labels`` ``(h, w)``, class indices with 255 unlabelled, and ``image`` ``(bands, h, w)``.

    The normalised gradient of the image (root of the summed squares over bands, each divided by its own spread) is
    cross-correlated with the edges between labels, by FFT (Lewis 1995, "Fast normalized cross-correlation"; on
    gradients, so that classes need no brightness of their own). The best place is refined by a parabola through it and
    its neighbours. It counts as measured if it lies within ``REACH`` pixels and stands out from all other places in a
    field three times as wide, which chance matches of few edges do not. ``usable`` is ``(h, w)``; other pixels have no
    edges.
    """
    nothing = Shift(dx=0, dy=0, pixels=0, measurable=False, peak=1)
    edges = _label_edges(labels, usable)
    if edges.sum() < _LEAST_EDGES or min(labels.shape) <= 2 * _FIELD:
        return nothing
    gradient = _gradient(image, usable)
    edges = scipy.ndimage.gaussian_filter(edges, 1.0)
    scores = _correlate(gradient, edges)
    row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
    best = float(scores[row, column])
    rows, columns = np.indices(scores.shape)
    local = scores == scipy.ndimage.maximum_filter(scores, 3)
    rivals = scores[local & (np.hypot(rows - row, columns - column) > 2)]
    floor = float(np.median(scores))
    second = float(rivals.max()) if rivals.size else floor
    peak = (best - floor) / max(second - floor, 1e-9) if best > floor else 1.0
    peak = min(max(peak, 1.0), 1e3)
    inside = max(abs(row - _FIELD), abs(column - _FIELD)) <= REACH
    if not inside or peak < _PEAK:
        return nothing.model_copy(update={"peak": round(peak, 3)})
    dy = row - _FIELD + _vertex(*scores[row - 1 : row + 2, column])
    dx = column - _FIELD + _vertex(*scores[row, column - 1 : column + 2])
    return Shift(
        dx=round(dx, 2), dy=round(dy, 2), pixels=round(float(np.hypot(dx, dy)), 2), measurable=True, peak=round(peak, 3)
    )


def _label_edges(labels: NDArray[np.uint8], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 on both sides of a change of class. The rim of labelled ground is an edge too where it is a shape's outline."""
    edges = np.zeros(labels.shape, np.float32)
    known = usable & (labels != _UNLABELLED)
    sparse = not (
        known.sum() > 0.5 * usable.sum()
    )  # few shapes on unlabelled ground: their outlines are what can be seen
    for axis in (0, 1):
        a, b = (
            [(slice(None, -1), slice(None)), (slice(None), slice(None, -1))][axis],
            [
                (slice(1, None), slice(None)),
                (slice(None), slice(1, None)),
            ][axis],
        )
        both = usable[a] & usable[b] if sparse else known[a] & known[b]
        change = (labels[a] != labels[b]) & both
        edges[a] += change
        edges[b] += change
    return np.minimum(edges, 1)


def _gradient(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    total = np.zeros(usable.shape, np.float32)
    for band in image:
        level = float(np.median(band[usable]))
        smooth = scipy.ndimage.gaussian_filter(np.where(usable, band, level).astype(np.float32), 1.0)
        slope = np.hypot(scipy.ndimage.sobel(smooth, axis=0), scipy.ndimage.sobel(smooth, axis=1))
        limit = float(np.percentile(slope[usable], 99))
        if limit > 0:
            total += (np.minimum(slope, limit) / limit) ** 2  # a few bright roofs must not outweigh all else
    gradient = np.sqrt(total)
    gradient[scipy.ndimage.maximum_filter(~usable, 5)] = 0  # the rim of a cloud is no edge of ground
    inner = gradient > 0
    if inner.any():
        gradient[inner] -= gradient[inner].mean()
    return gradient


def _correlate(gradient: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores ``(2 * _FIELD + 1,) * 2``; ``[_FIELD + dy, _FIELD + dx]`` is that of labels moved by ``(dx, dy)``."""
    shape = tuple(n + _FIELD for n in gradient.shape)  # zeros, so that what leaves one side does not enter at the other
    first, second = (scipy.fft.rfft2(part.astype(np.float64), shape) for part in (gradient, edges))
    full = scipy.fft.irfft2(first * np.conj(second), shape)
    window = np.arange(-_FIELD, _FIELD + 1)
    return np.asarray(full[np.ix_(window, window)])


def _vertex(before: float, best: float, after: float) -> float:
    """Where the parabola through three neighbours is highest, relative to the middle one."""
    bend = before - 2 * best + after
    return 0.0 if bend == 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
