"""Parameters of every bad kind end in a sentence that names the file and the value, at once and with nothing run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from pipelines.config import load_params, merged_params
from pipelines.errors import BadData
from tests.hostile.cases import Case
from tests.hostile.parameters import FILES, OVERLAYS
from tests.hostile.test_scenes import REMEDY, everything

PARAMS = Path(__file__).parents[2] / "params.yaml"


def refusal(file: Path) -> str:
    began = time.process_time()
    with pytest.raises(BadData) as caught:
        load_params(file)
    assert time.process_time() - began < 5
    assert str(file) in str(caught.value) and len(str(caught.value)) < 5000
    assert REMEDY.search(str(caught.value)), caught.value
    return str(caught.value)


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_a_file(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "params.yaml"
    file.write_bytes(case.write())
    before = everything(tmp_path)
    assert case.expects and re.search(case.expects, refusal(file))
    with pytest.raises(BadData):
        merged_params(PARAMS, file)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("case", OVERLAYS, ids=lambda case: case.name)
def test_a_value(tmp_path: Path, case: Case) -> None:
    (tmp_path / "overlay.yaml").write_bytes(case.write())
    file = tmp_path / "params.yaml"
    file.write_text(merged_params(PARAMS, tmp_path / "overlay.yaml"))
    assert case.expects and re.search(case.expects, refusal(file))


def test_the_repositorys_own_are_taken() -> None:
    assert load_params(PARAMS).model_dump(mode="json")["project"] == yaml.safe_load(PARAMS.read_text())["project"]
