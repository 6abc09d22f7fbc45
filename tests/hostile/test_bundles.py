"""A bundle that was tampered with is refused before anything in it is loaded, and nothing in it ever runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipelines.bundle.export import load_pt2
from pipelines.bundle.session import open_graph
from pipelines.bundle.store import open_bundle
from pipelines.errors import BadData
from tests.bundle.trained import bundle_folder
from tests.hostile.bundles import BUNDLES, GRAPHS
from tests.hostile.cases import Case
from tests.hostile.test_scenes import REMEDY

pytestmark = pytest.mark.slow


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder(), tmp_path / "bundle"))


def test_a_bundle_as_it_was_made_is_taken(bundle: Path) -> None:
    assert open_bundle(bundle).folder == bundle and load_pt2(bundle / "model.pt2") is not None


@pytest.mark.parametrize("case", BUNDLES, ids=lambda case: case.name)
def test_a_bundle(bundle: Path, case: Case) -> None:
    case.write(bundle)
    with pytest.raises(BadData) as caught:
        open_bundle(bundle)
    assert case.expects and re.search(case.expects, str(caught.value)), caught.value
    assert REMEDY.search(str(caught.value))


@pytest.mark.parametrize("case", GRAPHS, ids=lambda case: case.name)
def test_a_graph(bundle: Path, case: Case) -> None:
    case.write(bundle)
    open_bundle(bundle)
    with pytest.raises(BadData) as caught:
        load_pt2(bundle / "model.pt2")
    assert case.expects and re.search(case.expects, str(caught.value)), caught.value
    assert not (bundle.parent / "opened").exists()


def test_a_graph_cannot_take_its_numbers_from_elsewhere(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    graph = onnx.load(bundle / "model.onnx")
    stolen = graph.graph.initializer[0]
    stolen.ClearField("raw_data")
    stolen.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../private"), ("offset", "0"), ("length", "16")):
        entry = stolen.external_data.add()
        entry.key, entry.value = key, value
    (bundle / "model.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(BadData, match="no graph that OpenVINO takes"):
        open_graph(bundle / "model.onnx", 1, "f32")
