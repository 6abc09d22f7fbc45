"""Processors in the place of a GPU: the way over PyTorch's tensors, on any machine."""

from __future__ import annotations

from pipelines.inference.gpu import Gpu


class Pretended(Gpu):
    """The device "cpu" of PyTorch, with memory of its own."""

    free_bytes = 4 * 10**9  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("cpu")
