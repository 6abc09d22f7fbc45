"""Keeping prediction within a stated amount of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipelines.config.params import SIZE
from pipelines.errors import BadData
from pipelines.inference.stitch import memory_need
from pipelines.inference.windows import Axis

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_LEAST_CACHE = 16 * 10**6


class Worker(Protocol):
    @property
    def resident_bytes(self) -> int:
        """Memory of the process when the network was loaded and had not run: what all else comes on top of."""

    @property
    def calls(self) -> int:
        """How many threads ask the network at once."""

    @property
    def free_bytes(self) -> int | None:
        """Of a GPU, on which then all is done; ``None`` where that is main memory."""

    def working_bytes(self, pixels: int) -> int:
        """Memory that a window of so many pixels takes while the graph runs."""


@dataclass(frozen=True)
class Share:
    """How a budget is divided."""

    kernel: int  # bytes for the rolling buffers and batches of ``stitched``
    cache: int  # bytes for decoded blocks of GDAL
    batch: int  # windows that go through the network at once
    calls: int  # threads that do so at the same time


def parse_size(text: str) -> int:
    """Bytes of ``2GB``, ``512 MB``, ``1.5GiB`` or a plain number. Raises ``BadData`` for anything else."""
    match = SIZE.fullmatch(text.upper())
    if not match or not (size := int(float(match[1]) * _UNITS[match[2]])):
        raise BadData(f"{text!r} is no amount of memory; write it as 2GB or 512MB.")
    return size


def share(
    budget: int,
    worker: Worker,
    *,
    bands: int,
    width: int,
    classes: int,
    down: Axis,
    across: Axis,
    batch: int,
    block_row: int,
) -> Share:
    """Divide ``budget`` bytes between the program, GDAL's cache, the network and the kernel.

    ``block_row`` is the size of one row of the raster's blocks, decoded; with three in the cache none is decoded twice.
    What fits decides how many threads work, and then how many windows each takes at a time. On a GPU network and kernel
    have its free memory, and the budget bounds GDAL's cache alone. Raises ``BadData`` naming the need if not even one
    window in one thread fits.
    """
    here, free = worker.resident_bytes, worker.free_bytes
    cache = max(_LEAST_CACHE, min(3 * block_row, budget // 4))
    left = budget - here - cache if free is None else free * 9 // 10
    working = worker.working_bytes(down.window * across.window)

    def need(calls: int, count: int) -> int:
        axes: dict[str, Axis] = {"down": down, "across": across}
        ahead = free is not None
        kernel = memory_need(bands, width, classes=classes, batch=count, calls=calls, read_ahead=ahead, **axes)
        return kernel + calls * count * working

    if need(1, 1) > left and free is not None:
        raise BadData(
            f"Predicting an image {width} pixels wide needs {need(1, 1) / 1e6:.0f} MB of the GPU's memory, of which "
            f"{left / 1e6:.0f} MB are free for it; choose a smaller window, or free the GPU."
        )
    if need(1, 1) > left:
        raise BadData(
            f"Predicting an image {width} pixels wide needs {(need(1, 1) + here + cache) / 1e6:.0f} MB, of which "
            f"{here / 1e6:.0f} MB are the program itself, but max_memory is {budget / 1e6:.0f} MB; raise it, or choose "
            f"a smaller window."
        )
    calls = next(calls for calls in range(worker.calls, 0, -1) if need(calls, 1) <= left)
    # What is free on a GPU changes from one attempt to the next, and the bytes of a map depend on the batch: by halves
    # it seldom does.
    tried = range(batch, 0, -1) if free is None else [batch >> halves for halves in range(batch.bit_length())]
    fitting = next(count for count in tried if need(calls, count) <= left)
    return Share(kernel=left - calls * fitting * working, cache=cache, batch=fitting, calls=calls)
