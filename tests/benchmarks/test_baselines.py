from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from benchmarks.baselines import FOREST, OURS, TORCHGEO, compared, scores
from benchmarks.peers.torchgeo_task import train
from pipelines.config import Params
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.statistics import read_statistics
from pipelines.errors import BadData
from pipelines.evaluation.evaluate import evaluate
from pipelines.files import read_json, write_json
from tests.dataset.town import params
from tests.evaluation.parcels import Workspace, write_trained, write_workspace
from tests.training.workspaces import make_workspace


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace that is evaluated, as its stages leave it."""
    made = write_workspace(tmp_path_factory.mktemp("finished"))
    write_trained(made, steps=60)
    text = yaml.safe_dump(made.params.model_dump(mode="json"))
    (made.folder / "params.yaml").write_text(text)
    (made.data / "history.csv").write_text("epoch,val_loss\n1,0.5\n2,0.4\n")
    evaluate(made.folder, made.catalog, made.params)
    return made


@pytest.fixture
def catalog(finished: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / finished.params.project).symlink_to(finished.catalog)
    monkeypatch.setenv("SWATH_CATALOG", str(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("catalog")
def test_torchgeo_is_scored_on_the_ground_of_ours(finished: Workspace) -> None:
    frame, course = compared(finished.folder, None, 1)
    assert course["epochs"] == course["best epoch"] == 1
    pixels = {name: np.sum(rows["confusion"].tolist()) for name, rows in frame.groupby("model")}
    assert set(pixels) == {OURS, FOREST, TORCHGEO}
    assert len(set(pixels.values())) == 1  # every labelled pixel of the same blocks, once
    found = scores(frame, finished.params)
    metrics = read_json(finished.data / "metrics.json")
    assert found[OURS]["miou"]["value"] == pytest.approx(metrics["miou"]["value"], abs=1e-4)
    assert found[FOREST]["gain of ours"]["value"] == pytest.approx(metrics["baseline"]["gain"]["value"], abs=1e-4)
    low, value, high = (found[TORCHGEO]["miou"][name] for name in ("low", "value", "high"))
    assert 0 < low <= value <= high < 1
    again, known = compared(finished.folder, None, 1)
    assert known == course and scores(again, finished.params) == found


@pytest.mark.slow
@pytest.mark.usefixtures("catalog")
def test_other_test_ground_is_refused(finished: Workspace) -> None:
    path = finished.data / "metrics.json"
    kept = read_json(path)
    write_json(path, kept | {"test": kept["test"] | {"digest": "of another"}})
    try:
        with pytest.raises(BadData, match="other test ground"):
            compared(finished.folder, None, 1)
    finally:
        write_json(path, kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("segmentation", {"library": "smp", "name": "Unet"}),
        ("classification", {"library": "timm", "name": "resnet10t"}),
    ],
)
def test_each_task_of_torchgeo_trains_and_answers_for_each_pixel(
    task: str, model: dict[str, str], tmp_path: Path
) -> None:
    folder = make_workspace(tmp_path, train=8, val=4, batch=4)
    values = yaml.safe_load((folder / "params.yaml").read_text()) | {"task": task}
    values["train"]["model"] |= model | {"encoder": "resnet18" if task == "segmentation" else "none", "detail": 0}
    values["predict"] |= {"window": values["chips"]["size"], "overlap": 32}
    statistics = read_statistics(folder / "data" / "statistics.json")
    trained = train(ChipStore(folder / "data" / "chips"), statistics, Params.model_validate(values), None, 1)
    assert trained.epochs == trained.best_epoch == 1
    with torch.no_grad():
        logits = trained.network(torch.rand(2, 4, 64, 96))
    assert logits.shape == (2, 3, 64, 96)
    assert not torch.allclose(logits[0], logits[1])


def test_folds_are_scored_as_one_and_gains_are_paired() -> None:
    right, wrong = [8, 0, 0, 0, 8, 0, 0, 0, 8], [0, 8, 0, 0, 0, 8, 8, 0, 0]
    rows = [(f"b{i}", "s", OURS, right) for i in range(4)]
    rows += [(f"b{i}", "s", TORCHGEO, right if i % 2 else wrong) for i in range(4)]
    frame = pd.DataFrame(rows, columns=["block_id", "scene_id", "model", "confusion"])
    found = scores(frame, params(Path("parcels.gpkg")))
    assert found[OURS]["miou"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found[TORCHGEO]["accuracy"] == 0.5
    gain = found[TORCHGEO]["gain of ours"]
    assert gain["value"] == pytest.approx(1 - found[TORCHGEO]["miou"]["value"], abs=1e-4)
    assert gain["low"] < gain["value"] < gain["high"]
