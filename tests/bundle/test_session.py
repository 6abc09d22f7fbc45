"""Many threads that ask a graph at once, as the first thing that their process does with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

_AT_ONCE = """
import sys, threading
from pathlib import Path
import numpy as np
from pipelines.bundle.session import open_graph

sys.setswitchinterval(1e-6)  # Python's lock goes round fast: without care they wait for ever
graph, together, answers = open_graph(Path(sys.argv[1]), 8, "f32"), threading.Barrier(8), []

def ask(number):
    together.wait()
    answers.append(graph(np.full((1, 3, 8, 8), number - 4, np.float32)).max())

threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(answers))
"""


def test_threads_that_ask_a_graph_at_once_are_all_answered(tmp_path: Path) -> None:
    import openvino
    from openvino import opset13

    pixels = opset13.parameter([-1, 3, -1, -1], np.float32)
    openvino.save_model(openvino.Model([opset13.relu(pixels)], [pixels]), tmp_path / "graph.xml")
    asked = [sys.executable, "-c", _AT_ONCE, tmp_path / "graph.xml"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.replace("np.float32", "").strip() == "[(0.0), (0.0), (0.0), (0.0), (0.0), (1.0), (2.0), (3.0)]"


def test_nobody_is_told_that_a_model_is_used(tmp_path: Path) -> None:
    """OpenVINO writes the number that it is known by to the home before it tells of an import."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    looks = "import sys, pipelines.bundle.session, openvino; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run([sys.executable, "-c", looks], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), list(tmp_path.iterdir())) == ("None", [])
