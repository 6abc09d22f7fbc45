"""Running a bundle's graph on what this machine has: OpenVINO on its processors, the pt2 graph on a GPU."""

from __future__ import annotations

import ctypes

import numpy as np
import psutil
from numpy.typing import NDArray

from pipelines.bundle.contract import ONNX, PT2
from pipelines.bundle.session import Precision, cores, has_bf16, open_graph
from pipelines.bundle.store import Bundle
from pipelines.errors import BadData
from pipelines.inference.views import Logits, averaged, calibrated
from pipelines.inference.windows import SIDE

_SPARE = 4  # runtimes keep copies for convolutions: measured peaks are up to 3.2 times the graph's own results


class Runtime:
    """A ``Predictor``: physical units ``(n, bands, h, w)`` to probabilities ``(n, classes, h, w)``, both float32; of a
    detector what ``detected`` takes, boxes and scores ``(n, places, 4 + classes)``.

    It may be called from ``calls`` threads at once, each of which then has processors of its own.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, precision: Precision | None = None) -> None:
        """``precision`` is that of the arithmetic on processors; by default a GPU is used if there is one, or else what
        the bundle allows and the processor is made for.
        """
        contract = bundle.contract
        self._bands = len(contract.bands)
        self._activation_bytes = contract.activation_bytes
        self._on_gpu = precision is None and _has_cuda()
        self.calls = 1 if self._on_gpu else threads or cores()
        if self._on_gpu:
            graph, self.engine = _torch_logits(bundle), "torch cuda"
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

    def __call__(self, pixels: NDArray[np.float32], /) -> NDArray[np.float32]:
        """What the model says of filled pixels. Raises ``BadData`` for shapes that the graph does not take."""
        if pixels.ndim != 4 or pixels.shape[1] != self._bands or pixels.shape[2] % SIDE or pixels.shape[3] % SIDE:
            raise BadData(
                f"The model takes (n, {self._bands}, height, width) with sides that are multiples of {SIDE}, "
                f"not {pixels.shape}; choose another window."
            )
        return self._answer(np.ascontiguousarray(pixels, np.float32))

    def working_bytes(self, pixels: int) -> int:
        """Main memory that a window of so many pixels takes while the graph runs."""
        return 0 if self._on_gpu else _SPARE * self._activation_bytes * pixels


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
