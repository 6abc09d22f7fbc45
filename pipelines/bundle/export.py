"""The network as graphs that need none of its code: ``torch.export``'s pt2 and ONNX."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pipelines.bundle.archive import strange
from pipelines.bundle.contract import ONNX, PT2
from pipelines.errors import BadData, SwathError
from pipelines.training.checkpoint import Normalized

INPUT, OUTPUT = "pixels", "logits"
TOLERANCE = 1e-3  # absolute, of logits: ONNX Runtime adds up in another order

_FREE = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)


def export(module: Normalized, bands: int, folder: Path) -> int:
    """Write ``model.pt2`` and ``model.onnx`` with free batch, height and width; return ``activation_bytes``.

    ``module`` takes float32 ``(n, bands, h, w)``, sides multiples of 32, and returns logits ``(n, classes, h, w)``, or
    the boxes and scores of a detector.
    Raises ``SwathError`` if a graph, at sizes that it was not traced at, disagrees with the module.
    """
    module = module.eval()
    example = torch.zeros(2, bands, 128, 96)  # sizes that differ, so that none is taken for another
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=_FREE)
        held = activation_bytes(program) // (2 * 128 * 96)
        torch.onnx.export(
            program,
            f=str(folder / ONNX),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        )
        program.example_inputs = None  # they would be the one pickle in the archive
        torch.export.save(program, folder / PT2)
    _check(module, bands, folder)
    return held


def load_pt2(path: Path) -> nn.Module:
    """The exported graph as a module. Raises ``BadData`` rather than unpickle or evaluate anything."""
    try:
        found = strange(path)
    except (zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadData(f"{path} is no graph that swath has exported ({error}); fetch the bundle again.") from error
    if found:
        raise BadData(
            f"{path} holds more than a graph and its numbers, which loading might unpickle or run "
            f"({', '.join(found[:5])}); load only bundles that swath has made."
        )
    # A side of 32 is one cell at the deepest level, which tracing guards against though the graph is right for it.
    return cast(nn.Module, torch.export.load(path).module(check_guards=False))


def activation_bytes(program: ExportedProgram) -> int:
    """Most bytes of results that are alive at once when the graph runs in order at its example's size."""
    nodes = list(program.graph.nodes)
    last_use = {node: max((nodes.index(user) for user in node.users), default=0) for node in nodes}
    alive: dict[object, int] = {}
    most = 0
    for i, node in enumerate(nodes):
        value = node.meta.get("val")
        if node.op == "call_function" and isinstance(value, Tensor):
            # `int` of a free side would fix it in the graph; its hint is the example's.
            sides = [side.node.hint if isinstance(side, torch.SymInt) else side for side in value.shape]
            alive[node] = math.prod(sides) * value.element_size()
        most = max(most, sum(alive.values()))
        alive = {other: size for other, size in alive.items() if last_use[other] > i}  # type: ignore[index]
    return most


def _check(module: Normalized, bands: int, folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    graph = load_pt2(folder / PT2)
    random = torch.Generator().manual_seed(0)
    for shape in ((1, bands, 64, 160), (3, bands, 96, 64)):
        pixels = module.mean + module.std * torch.randn(shape, generator=random)  # as the network knows them
        with torch.no_grad():
            truth = module(pixels).numpy()
            answers = {PT2: graph(pixels).numpy(), ONNX: session.run([OUTPUT], {INPUT: pixels.numpy()})[0]}
        for name, answer in answers.items():
            if answer.shape != truth.shape:
                off = f"gives {answer.shape} where the trained network gives {truth.shape}"
            elif not np.allclose(answer, truth, rtol=1e-3, atol=TOLERANCE):
                off = f"differs from the trained network by up to {np.abs(answer - truth).max():.2g}"
            else:
                continue
            raise SwathError(
                f"{name} {off} at shape {shape}; this architecture cannot be exported with free sizes. Choose another "
                "train.model."
            )
