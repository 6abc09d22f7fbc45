"""No map, but the bare network over the windows that ours needs, in full precision: the least that it could take."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import SCENE
from benchmarks.peers.contender import cores, given, timed
from benchmarks.peers.mapping import BUNDLE
from pipelines.bundle.contract import ONNX
from pipelines.bundle.session import Graph, open_graph
from pipelines.bundle.store import open_bundle
from pipelines.inference.windows import axes
from pipelines.scenes.scene import Scene


def _openvino(path: str) -> tuple[Graph, int]:
    return open_graph(Path(path), cores(), "f32"), cores()


def _onnxruntime(path: str) -> tuple[Graph, int]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def answer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return session.run(None, {session.get_inputs()[0].name: pixels})[0]

    return answer, 1


def main() -> None:
    folder, _, options = given()
    asked = argparse.ArgumentParser()
    asked.add_argument("--window", type=int, required=True)
    asked.add_argument("--overlap", type=int, required=True)
    asked.add_argument("--runtime", choices=("openvino", "onnxruntime"), required=True)
    wanted = asked.parse_args(options)
    bundle = open_bundle(str(folder / BUNDLE))
    scene = Scene.model_validate_json((folder / SCENE).read_text())
    down, across = axes(scene.height, scene.width, wanted.window, wanted.overlap, "segmentation")
    columns, most = len(across.starts), bundle.contract.batch
    sizes = [min(most, columns - at) for at in range(0, columns, most)] * len(down.starts)
    graph, calls = (_openvino if wanted.runtime == "openvino" else _onnxruntime)(str(bundle.folder / ONNX))
    shape = (most, len(bundle.contract.bands), down.window, across.window)
    pixels = np.random.default_rng(0).uniform(0, 0.5, shape).astype(np.float32)
    graph(pixels[:1])  # the first use sets memory up
    with ThreadPoolExecutor(calls) as pool, timed():
        for _ in pool.map(lambda size: graph(pixels[:size]).shape, sizes):
            pass


if __name__ == "__main__":
    main()
