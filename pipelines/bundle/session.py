"""A bundle's ONNX graph on this machine's processors."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import BadData

# Each import of OpenVINO tells Google Analytics of it, from a process of its own, whatever DO_NOT_TRACK says; without
# this module it has a stand-in that tells nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

Precision = Literal["f32", "bf16"]
Graph = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (n, bands, h, w) to what the network answers

# OpenVINO makes tables at a process's first answer under a lock of C++, and lets go of Python's meanwhile: a second
# thread that takes Python's lock and waits for the tables would keep both waiting for ever.
_alone = threading.Lock()
_begun = threading.Event()


def open_graph(path: Path, threads: int, precision: Precision) -> Graph:
    """The graph, to be called from as many as ``threads`` threads at once.

    Each call is worked on by one processor: processors that share a call wait for each other after every layer.
    ``precision`` is that of the arithmetic; results are float32.
    """
    settings = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    try:
        compiled = openvino.Core().compile_model(path, "CPU", settings)
    except RuntimeError as error:  # such as numbers in other files, outside of the folder
        raise BadData(f"{path} is no graph that OpenVINO takes ({error}); fetch the bundle again.") from error
    mine = threading.local()

    def answer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(mine, "request"):
            mine.request = compiled.create_infer_request()
        with nullcontext() if _begun.is_set() else _alone:
            found: NDArray[np.float32] = mine.request.infer({0: pixels}, share_inputs=True)[0]
        _begun.set()
        return found

    return answer


def has_bf16() -> bool:
    """Whether this machine's processors compute in bfloat16."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def processor() -> str:
    """What this machine's processor calls itself."""
    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def cores() -> int:
    """Processors that this process may use, by affinity and by the share that a container gives it."""
    from joblib import cpu_count

    return int(cpu_count())
