"""Arrays in main memory and on a GPU, worked on by the same code.

Those in main memory are NumPy's, those on a GPU are tensors of PyTorch. What both can do is the array API standard
(https://data-apis.org/array-api), by the names of ``namespace(array)``; here is the rest. PyTorch is imported only
where something is to be on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace as namespace
from array_api_compat import device, is_numpy_array
from numpy.typing import NDArray

__all__ = ["Array", "contiguous", "copied", "device", "host", "like", "namespace", "overwrite", "put"]

Array = Any  # NDArray or torch.Tensor


def put(array: NDArray[Any], to: str | None) -> Array:
    """``array`` on the device that PyTorch calls ``to``, or as it is for main memory, ``None``.

    A GPU takes it while this thread goes on.
    """
    if to is None:
        return array
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(to, non_blocking=True) if to == "cuda" else tensor.to(to)


def like(array: NDArray[Any], other: Array) -> Array:
    """``array`` where ``other`` is."""
    return array if is_numpy_array(other) else put(array, device(other).type)


def host(array: Array) -> NDArray[Any]:
    """``array`` in main memory."""
    found: NDArray[Any] = array if is_numpy_array(array) else array.cpu().numpy()
    return found


def copied(array: Array) -> Array:
    return array.copy() if is_numpy_array(array) else array.clone()


def contiguous(array: Array) -> Array:
    """``array`` with its last axis last in memory; the very array where it is."""
    return np.ascontiguousarray(array) if is_numpy_array(array) else array.contiguous()


def overwrite(target: Array, values: Array, where: NDArray[np.bool_]) -> None:
    """Put ``values`` into ``target`` where ``where`` is true; both are broadcast."""
    if is_numpy_array(target):
        np.copyto(target, values, where=where)
    else:
        target.copy_(namespace(target).where(like(where, target), values, target))
