"""The GPU of this machine, where there is one, and a bundle's graph on it."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path

from pipelines.bundle.session import Precision
from pipelines.inference.arrays import Array
from pipelines.inference.views import Logits


class Gpu:
    """A device of PyTorch's, by its ``name`` there."""

    def __init__(self, name: str) -> None:
        import torch

        self.name, self._torch = name, torch

    @property
    def has_bf16(self) -> bool:
        """Whether it is made for bfloat16."""
        return self.name != "cpu" and self._torch.cuda.is_bf16_supported(including_emulation=False)

    @property
    def free_bytes(self) -> int:
        """What nobody has, and what this process has and does not use."""
        cuda = self._torch.cuda
        unused = cuda.memory_reserved(self.name) - cuda.memory_allocated(self.name)
        return int(cuda.mem_get_info(self.name)[0] + unused)

    def open_graph(self, path: Path, precision: Precision) -> Logits:
        """The graph, to be called from one thread at a time.

        ``precision`` is that of the arithmetic, full precision without TensorFloat-32; results are float32. The same
        pixels give the same bytes.
        """
        from pipelines.bundle.export import load_pt2

        torch = self._torch
        exact = partial(torch.backends.cudnn.flags, enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        graph = load_pt2(path).to(self.name).to(memory_format=torch.channels_last)

        def answer(pixels: Array) -> Array:
            short = torch.autocast(self.name, torch.bfloat16, enabled=precision == "bf16")
            with torch.no_grad(), exact(), short:
                return graph(pixels.contiguous(memory_format=torch.channels_last)).float()

        return answer


def gpu() -> Gpu | None:
    """That of this machine, if there is one."""
    try:
        ctypes.CDLL("libcuda.so.1")  # asking torch would load it
    except OSError:
        return None
    import torch

    return Gpu("cuda") if torch.cuda.is_available() else None
