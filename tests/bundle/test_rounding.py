from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.bundle.build import build
from pipelines.bundle.contract import ONNX, read_contract, write_contract
from pipelines.bundle.export import export
from pipelines.bundle.rounding import rounding
from pipelines.bundle.session import has_bf16
from pipelines.bundle.store import open_bundle
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.statistics import Statistics
from pipelines.files import read_json
from pipelines.inference.runtime import Runtime
from pipelines.training.checkpoint import Normalized
from tests.bundle.trained import BANDS, bundle_folder, write_workspace
from tests.training.workspaces import make_workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_bf16(), reason="this machine's processors do not compute in bfloat16"),
]


class Difference(nn.Module):
    """Classes by the sign of the second band, which one layer hides under the first and the next digs out."""

    def __init__(self, bands: int, common: float) -> None:
        super().__init__()
        self.hide, self.dig = nn.Conv2d(bands, 2, 1, bias=False), nn.Conv2d(2, 3, 1, bias=False)
        hidden, dug = torch.zeros(2, bands, 1, 1), torch.zeros(3, 2, 1, 1)
        hidden[:, 0], hidden[1, 1] = common, 1.0
        dug[1], dug[2] = torch.tensor([-1.0, 1.0])[:, None, None], torch.tensor([1.0, -1.0])[:, None, None]
        self.hide.weight, self.dig.weight = nn.Parameter(hidden), nn.Parameter(dug)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.dig(self.hide(images))
        return logits


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("rounding"), bands=len(BANDS)) / "data"


def measured(data: Path, common: float, folder: Path):
    store = ChipStore(data / "chips")
    statistics = Statistics.model_validate(read_json(data / "statistics.json"))
    export(Normalized(Difference(len(store.bands), common), statistics), len(store.bands), folder)
    return rounding(folder / ONNX, store, statistics.means)


def test_a_network_whose_classes_are_far_apart_survives_bfloat16(chips: Path, tmp_path: Path) -> None:
    found = measured(chips, 0.0, tmp_path)
    assert found is not None and found.pixels == 8 * 64 * 60  # all val chips but their bars of cloud
    assert found.within(0.001)


def test_where_no_class_has_enough_pixels_nothing_was_measured(
    chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.bundle.rounding._LEAST", 10**6)
    assert measured(chips, 0.0, tmp_path) is None


def test_a_network_that_subtracts_large_numbers_does_not(chips: Path, tmp_path: Path) -> None:
    found = measured(chips, 1000.0, tmp_path)
    assert found is not None and not found.within(0.05) and found.changed > 0.1


def test_bfloat16_is_used_where_the_bundle_allows_it_and_gives_nearly_the_same(tmp_path: Path) -> None:
    folder = shutil.copytree(bundle_folder(), tmp_path / "bundle")
    full = Runtime(open_bundle(folder), threads=1)
    write_contract(folder, read_contract(folder).model_copy(update={"bf16": True}))
    short = Runtime(open_bundle(folder), threads=1)
    assert (full.engine, short.engine) == ("openvino f32", "openvino bf16")
    pixels = np.random.default_rng(0).uniform(0, 0.5, (2, 3, 64, 64)).astype(np.float32)
    apart = np.abs(full(pixels) - short(pixels))
    assert 1e-5 < apart.max() < 0.2 and apart.mean() < 0.01


def test_packaging_measures_it_decides_by_the_tolerance_and_tells_in_the_card(chips: Path, tmp_path: Path) -> None:
    params = write_workspace(tmp_path)
    shutil.copytree(chips / "chips", tmp_path / "data" / "chips")
    allowed = []
    for most in (0.1, 1e-9):
        asked = params.model_copy(update={"predict": params.predict.model_copy(update={"max_change": most})})
        contract = build(tmp_path, asked, tmp_path / f"bundle-{most}")
        assert contract.rounding is not None and contract.bf16 == contract.rounding.within(most)
        allowed.append(contract.bf16)
        card = (tmp_path / f"bundle-{most}" / "card.md").read_text()
        assert ("compute in it." if contract.bf16 else "do not compute in it.") in card
    assert allowed == [True, False]
