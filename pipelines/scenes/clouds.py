"""Cloud and shadow by a network, for scenes whose source says nothing of them.

The network is one of ukis-csmask (Wieland, Li and Martinis 2019, "Multi-sensor cloud and cloud shadow segmentation with
a convolutional neural network"), an optional package that brings its weights along. It was trained at 30 m, so finer
scenes are averaged to about that before, and what it finds is spread over their pixels after.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from pipelines.config.params import CloudMask
from pipelines.errors import SwathError
from pipelines.scenes.scene import Band, MaskBit

RESOLUTION = 30.0  # metres
_STEP = 204  # pixels from one of the package's tiles to the next
_CORE = 5 * _STEP  # pixels along a side that are looked at together
_BLOCK = 1536  # pixels of the scene along a side that are read together
_BITS = np.array([0, MaskBit.CLOUD, MaskBit.SHADOW], np.uint8)  # of the package's classes


def require_model(asked: CloudMask) -> None:
    """Raise ``SwathError`` unless the package of ``asked.model`` is installed, or none is asked for."""
    if asked.model and find_spec("ukis_csmask") is None:
        raise SwathError(
            f"params.scenes.cloud_mask.model is {asked.model}, which is not installed; `pip install ukis-csmask`, or "
            "install requirements.lock, which has it."
        )


def mask_clouds(
    image: Path,
    mask: Path,
    bands: Sequence[Band],
    means: NDArray[np.float64],
    asked: CloudMask,
    resolution: float,
) -> tuple[int, str]:
    """Set the bits of cloud and shadow in ``mask``, a GeoTIFF of ``MaskBit`` bits, wherever ``image`` has data.

    ``bands`` are those of ``image``, in reflectance; ``means`` those of their pixels with data, in the image's own
    numbers, and stand in for pixels without. ``resolution`` is in metres. Returns how many pixels are cloud or shadow
    now, and a sentence that says how. Memory is bounded, whatever the scene's size, and the bits are those that the
    package gives for the scene as a whole. Raises ``SwathError`` if the package is not installed.
    """
    require_model(asked)
    names = [band.name for band in bands]
    chosen = [names.index(name) for name in asked.bands.values()]
    factor = max(1, round(RESOLUTION / resolution))
    masked = 0
    with rasterio.open(image) as pixels, rasterio.open(mask, "r+") as bits:
        scene = _Averaged(pixels, bits, [bands[i] for i in chosen], chosen, means[chosen], factor)
        for rows in _cores(scene.height):
            for columns in _cores(scene.width):
                around = _around(rows, scene.height), _around(columns, scene.width)
                reflectance = scene.read(*around)
                if reflectance is None:
                    continue
                (top, _), (left, _) = around
                inner = slice(rows[0] - top, rows[1] - top), slice(columns[0] - left, columns[1] - left)
                found = _BITS[_classes(reflectance, asked)[inner]]
                masked += _burn(bits, found, rows[0], columns[0], factor)
    package = f"{asked.model} {version('ukis-csmask')}"
    return masked, f"By {package} for {asked.level}, from {len(chosen)} bands at {factor * resolution:.3g} m."


class _Averaged:
    """The reflectance of a scene in cells of ``factor`` pixels along a side."""

    def __init__(
        self,
        pixels: Any,
        bits: Any,
        bands: Sequence[Band],
        indexes: Sequence[int],
        means: NDArray[np.float64],
        factor: int,
    ) -> None:
        self._pixels, self._bits, self._factor = pixels, bits, factor
        self._indexes = [i + 1 for i in indexes]
        self._scale = np.array([b.scale for b in bands])
        self._offset = np.array([b.offset for b in bands])
        self._means = means
        self.height, self.width = (math.ceil(n / factor) for n in (pixels.height, pixels.width))

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.float32] | None:
        """Means of the pixels with data, ``(rows, columns, bands)``; None where no pixel has any."""
        found = np.empty((rows[1] - rows[0], columns[1] - columns[0], len(self._indexes)), np.float32)
        some = False
        for down, right, window in _blocks(self._pixels, rows, columns, self._factor):
            valid = (self._bits.read(1, window=window) & MaskBit.NODATA) == 0
            numbers = np.where(valid, self._pixels.read(self._indexes, window=window), 0)
            counts = _sums(valid[None], self._factor)
            numbers = np.where(counts, _sums(numbers, self._factor) / np.maximum(counts, 1), self._means[:, None, None])
            found[down, right] = np.moveaxis(numbers, 0, -1) * self._scale + self._offset
            some |= bool(valid.any())
        return found if some else None


def _classes(reflectance: NDArray[np.float32], asked: CloudMask) -> NDArray[np.uint8]:
    """0 clear, 1 cloud, 2 shadow, ``(rows, columns)``, of ``(rows, columns, bands)``."""
    from ukis_csmask.mask import CSmask

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input image is smaller", UserWarning)  # than a tile; it is mirrored
        seen = CSmask(reflectance, list(asked.bands), asked.level, providers=["CPUExecutionProvider"])
    found: NDArray[np.uint8] = seen.csm[:, :, 0]
    return found


def _burn(bits: Any, found: NDArray[np.uint8], top: int, left: int, factor: int) -> int:
    """Set the bits ``found`` in cells from ``top`` and ``left`` on; returns how many pixels with data got one."""
    rows, columns = (top, top + found.shape[0]), (left, left + found.shape[1])
    masked = 0
    for down, right, window in _blocks(bits, rows, columns, factor):
        block = bits.read(1, window=window)
        more = found[down, right].repeat(factor, 0).repeat(factor, 1)[: block.shape[0], : block.shape[1]]
        more[(block & MaskBit.NODATA) > 0] = 0
        masked += int(np.count_nonzero(more))
        bits.write(block | more, 1, window=window)
    return masked


def _cores(length: int) -> Iterator[tuple[int, int]]:
    """First and past the last of the cells that are looked at together; the last ones are never a few only."""
    start = 0
    while length - start >= _CORE + _STEP:
        yield start, start + _CORE
        start += _CORE
    yield start, length


def _around(core: tuple[int, int], length: int) -> tuple[int, int]:
    """``core`` with the neighbours that it takes for each tile that counts in it to be one of the whole scene's.

    The package lays tile ``i`` over the cells from ``204 i - 51`` to ``204 i + 204`` of what it is given, and blends
    them with weights that are 0 at their ends; beyond what it is given it mirrors.
    """
    return max(0, core[0] - _STEP), min(length, core[1] + _STEP + 1)


def _blocks(
    dataset: Any, rows: tuple[int, int], columns: tuple[int, int], factor: int
) -> Iterator[tuple[slice, slice, Window]]:
    """Parts of a rectangle of cells, each with the window of its pixels."""
    step = max(1, _BLOCK // factor)
    for top in range(rows[0], rows[1], step):
        bottom = min(top + step, rows[1])
        for left in range(columns[0], columns[1], step):
            right = min(left + step, columns[1])
            first, last = (top * factor, left * factor), (bottom * factor, right * factor)
            size = min(last[0], dataset.height) - first[0], min(last[1], dataset.width) - first[1]
            window = Window(first[1], first[0], size[1], size[0])
            yield slice(top - rows[0], bottom - rows[0]), slice(left - columns[0], right - columns[0]), window


def _sums(values: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Sums of ``(bands, rows, columns)`` over cells; those at the lower and right end may be cut."""
    bands, rows, columns = values.shape
    whole = np.pad(values, ((0, 0), (0, -rows % factor), (0, -columns % factor)))
    cells = whole.reshape(bands, -(-rows // factor), factor, -(-columns // factor), factor)
    sums: NDArray[np.float64] = cells.sum((2, 4), dtype=np.float64)
    return sums
