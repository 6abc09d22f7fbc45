"""Running a bundle's graph on what this machine has: ONNX Runtime on its processors, the pt2 graph on a GPU."""

from __future__ import annotations

import ctypes
import os

import numpy as np
import psutil
from numpy.typing import NDArray

from pipelines.bundle.contract import ONNX, PT2
from pipelines.bundle.store import Bundle
from pipelines.errors import BadData
from pipelines.inference.views import Logits, averaged, calibrated

_SPARE = 4  # runtimes keep copies for convolutions: measured peaks are up to 3.2 times the graph's own results
SIDE = 32  # sides that the networks take are multiples of it


class Runtime:
    """A ``Predictor``: physical units ``(n, bands, h, w)`` to probabilities ``(n, classes, h, w)``, both float32; of a
    detector what ``detected`` takes, boxes and scores ``(n, places, 4 + classes)``.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        contract = bundle.contract
        self._bands = len(contract.bands)
        self._activation_bytes = contract.activation_bytes
        self.on_gpu = _has_cuda()
        graph = _torch_logits(bundle) if self.on_gpu else _onnx_logits(bundle, threads or cores())
        detects = contract.task == "detection"
        self._answer = graph if detects else calibrated(averaged(graph, contract.views), contract.temperature)
        if detects:
            import torchvision.ops  # noqa: F401 - what suppresses boxes; it is to count among what is resident
        self.digest = bundle.digest
        self.channels = len(contract.classes)  # of an answer that gives classes to pixels
        self.resident_bytes: int = psutil.Process().memory_info().rss

    def __call__(self, pixels: NDArray[np.float32], /) -> NDArray[np.float32]:
        """What the model says of filled pixels. Raises ``BadData`` for shapes that the graph does not take."""
        if pixels.ndim != 4 or pixels.shape[1] != self._bands or pixels.shape[2] % SIDE or pixels.shape[3] % SIDE:
            raise BadData(
                f"The model takes (n, {self._bands}, height, width) with sides that are multiples of {SIDE}, "
                f"not {pixels.shape}; choose another window."
            )
        return self._answer(np.ascontiguousarray(pixels, np.float32))

    def working_bytes(self, window: int) -> int:
        """Main memory that one window of a batch takes while the graph runs."""
        return 0 if self.on_gpu else _SPARE * self._activation_bytes * window * window


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _onnx_logits(bundle: Bundle, threads: int) -> Logits:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(bundle.folder / ONNX, options, providers=["CPUExecutionProvider"])
    (given,), (wanted,) = session.get_inputs(), session.get_outputs()

    def logits(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = session.run([wanted.name], {given.name: pixels})[0]
        return answer

    return logits


def _torch_logits(bundle: Bundle) -> Logits:
    import torch

    from pipelines.bundle.export import load_pt2

    graph = load_pt2(bundle.folder / PT2).to("cuda")

    def logits(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            answer: NDArray[np.float32] = graph(torch.from_numpy(pixels).to("cuda")).cpu().numpy()
        return answer

    return logits


def _has_cuda() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")  # asking torch would load it
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()
