"""Labels of every bad kind end in a sentence, or in the labels that they mean; nothing else is left of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipelines.dataset.snapshot import take_snapshot
from pipelines.errors import BadData
from pipelines.scenes.scene import Scene
from tests.builders import write_scene
from tests.dataset.town import params
from tests.hostile.cases import Case
from tests.hostile.labels import LABELS
from tests.hostile.test_scenes import REMEDY, everything


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, Path]:
    catalog = tmp_path_factory.mktemp("catalog")
    pixels = np.random.default_rng(0).integers(200, 3000, (2, 64, 64)).astype(np.uint16)
    return write_scene(catalog, pixels), catalog


@pytest.mark.parametrize("case", LABELS, ids=lambda case: case.name)
def test_labels(scene: tuple[Scene, Path], case: Case, tmp_path: Path) -> None:
    one, catalog = scene
    (tmp_path / "in").mkdir()
    background = "water" if case.name.startswith(("box", "annotation")) else None
    values = params(case.write(tmp_path / "in"), labels={"background": background})
    before = everything(tmp_path)
    if case.expects is None:
        made = take_snapshot([one], catalog, values, tmp_path / "data")
        assert [scene.id for scene in made.scenes] == ["scene"] and len(made.labels) == 1
        return
    with pytest.raises(BadData) as caught:
        take_snapshot([one], catalog, values, tmp_path / "data")
    assert re.search(case.expects, str(caught.value)), caught.value
    assert REMEDY.search(str(caught.value)), caught.value
    assert everything(tmp_path) == before
