"""Running a bundle's graph on what this machine has: OpenVINO on its processors, PyTorch on a GPU."""

from __future__ import annotations

import numpy as np
import psutil

from pipelines.bundle.contract import ONNX, PT2
from pipelines.bundle.session import Precision, cores, has_bf16, open_graph
from pipelines.bundle.store import Bundle
from pipelines.errors import BadData
from pipelines.inference.arrays import Array, contiguous, put
from pipelines.inference.gpu import gpu
from pipelines.inference.views import averaged, calibrated
from pipelines.inference.windows import SIDE

_SPARE = 4  # runtimes keep copies for convolutions: measured peaks are up to 3.2 times the graph's own results


class Runtime:
    """A ``Predictor``: physical units ``(n, bands, h, w)`` to probabilities ``(n, classes, h, w)``, both float32; of a
    detector what ``detected`` takes, boxes and scores ``(n, places, 4 + classes)``.

    It works on what PyTorch calls ``device``, on processors where that is ``None``, and its answers are there. It may
    be called from ``calls`` threads at once, each of which then has processors of its own.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, precision: Precision | None = None) -> None:
        """``precision`` is that of the arithmetic on processors; by default a GPU is used if there is one, and either
        computes in what the bundle allows and it is made for.
        """
        contract = bundle.contract
        self._bands = len(contract.bands)
        self._activation_bytes = contract.activation_bytes
        self._gpu = gpu() if precision is None else None
        self.device = self._gpu.name if self._gpu else None
        self.calls = 1 if self._gpu else threads or cores()
        if self._gpu:
            chosen: Precision = "bf16" if contract.bf16 and self._gpu.has_bf16 else "f32"
            graph, self.engine = self._gpu.open_graph(bundle.folder / PT2, chosen), f"torch {self.device} {chosen}"
        else:
            chosen = precision or ("bf16" if contract.bf16 and has_bf16() else "f32")
            graph, self.engine = open_graph(bundle.folder / ONNX, self.calls, chosen), f"openvino {chosen}"
        detects = contract.task == "detection"
        self._answer = graph if detects else calibrated(averaged(graph, contract.views), contract.temperature)
        if detects:
            import torchvision.ops  # noqa: F401 - what suppresses boxes; it is to count among what is resident
        self.digest = bundle.digest
        self.channels = len(contract.classes)  # of an answer that gives classes to pixels
        self.resident_bytes: int = psutil.Process().memory_info().rss

    def __call__(self, pixels: Array, /) -> Array:
        """What the model says of filled pixels. Raises ``BadData`` for shapes that the graph does not take."""
        if pixels.ndim != 4 or pixels.shape[1] != self._bands or pixels.shape[2] % SIDE or pixels.shape[3] % SIDE:
            raise BadData(
                f"The model takes (n, {self._bands}, height, width) with sides that are multiples of {SIDE}, "
                f"not {tuple(pixels.shape)}; choose another window."
            )
        if isinstance(pixels, np.ndarray):
            pixels = put(np.ascontiguousarray(pixels, np.float32), self.device)
        return self._answer(contiguous(pixels))

    @property
    def free_bytes(self) -> int | None:
        """Of the GPU; ``None`` where main memory is what counts."""
        return self._gpu.free_bytes if self._gpu else None

    def working_bytes(self, pixels: int) -> int:
        """Memory that a window of so many pixels takes while the graph runs, where it runs."""
        return _SPARE * self._activation_bytes * pixels
