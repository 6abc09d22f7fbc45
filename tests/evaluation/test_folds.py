"""Folds taken together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines.cli.folds import crossvalidate
from pipelines.config import load_params
from pipelines.config.params import Evaluate
from pipelines.evaluation.folds import together
from pipelines.files import write_json
from pipelines.scenes.catalog import write_index, write_item
from tests.checkout import ROOT
from tests.dataset.town import params, write_labels, write_town

SETTINGS = Evaluate(bootstrap=200, confidence=0.95)


def write_fold(folder: Path, blocks: dict[str, tuple[list[list[int]], list[list[int]]]], miou: float) -> Path:
    """A fold's results: of each block the confusion of the network and of the baseline."""
    rows = [
        {"block_id": block, "scene_id": "s", "model": model, "confusion": np.ravel(counts).tolist()}
        for block, both in blocks.items()
        for model, counts in zip(("network", "baseline"), both, strict=True)
    ]
    (folder / "data" / "evaluation").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(folder / "data" / "evaluation" / "blocks.parquet")
    metrics = {"miou": {"value": miou}, "accuracy": 0.9, "ece": 0.01, "test": {"blocks": len(blocks)}}
    write_json(folder / "data" / "metrics.json", metrics)
    return folder


def test_all_tested_ground_is_scored_as_one_and_not_as_the_mean_of_folds(tmp_path: Path) -> None:
    right, half, wrong = [[50, 0], [0, 50]], [[25, 25], [25, 25]], [[0, 5], [5, 0]]
    folds = [
        write_fold(tmp_path / "0", {"a": (right, half), "b": (right, half)}, 1.0),
        write_fold(tmp_path / "1", {"c": (wrong, half)}, 0.0),
    ]
    found = together(folds, ["land", "water"], SETTINGS)
    assert found["mean_of_folds"] == 0.5
    assert found["network"]["blocks"] == 3
    assert found["network"]["miou"]["value"] == pytest.approx(100 / 110, abs=1e-4)  # 100 right of 105 + 5 wrong a class
    assert found["network"]["accuracy"] == pytest.approx(200 / 210)
    assert found["network"]["iou"]["water"]["low"] < 0.95 < found["network"]["iou"]["water"]["high"]
    assert found["baseline"]["miou"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["gain"]["value"] == pytest.approx(100 / 110 - 1 / 3, abs=1e-4)


def test_a_class_that_occurs_nowhere_has_no_score_and_the_rest_is_still_json(tmp_path: Path) -> None:
    counts = [[50, 0, 0], [0, 50, 0], [0, 0, 0]]
    found = together([write_fold(tmp_path, {"a": (counts, counts)}, 1.0)], ["land", "water", "ice"], SETTINGS)
    assert found["network"]["f1"] == {"land": 1.0, "water": 1.0, "ice": None}
    json.dumps(found, allow_nan=False)


def test_labels_below_the_home_are_found_from_a_fold_though_no_variable_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWATH_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())  # as it comes
    monkeypatch.setattr("pipelines.cli.folds._swath", lambda stage, workspace: sys.exit(stage))
    with pytest.raises(SystemExit, match="snapshot"):
        crossvalidate(tmp_path / "cv", 2, None)
    found = yaml.safe_load((tmp_path / "cv" / "fold-0" / "params.yaml").read_text())
    assert found["labels"]["source"] == load_params().labels.source


@pytest.mark.slow
def test_each_block_is_tested_by_one_fold_and_finished_folds_are_kept(tmp_path: Path) -> None:
    catalog = tmp_path / "home" / "catalog" / "sample"
    for scene in write_town(catalog):
        write_item(catalog / "scenes" / scene.id, scene, fingerprint="x", dated=True, bands=[{}, {}])
    write_index(catalog, "sample")
    train = {"model": {"library": "torchgeo", "name": "FCN", "encoder": "none"}, "epochs": 1}
    values = params(write_labels(tmp_path / "parcels.gpkg"), train=train, predict={"window": 128, "overlap": 32})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values.model_dump(mode="json")))
    environment = os.environ | {"SWATH_HOME": str(tmp_path / "home")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-m", "pipelines", "crossvalidate", "--folds", "2", "--out", "cv"]
    said = [
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        for _ in range(2)
    ]
    first, again = (json.loads(one.stdout.splitlines()[-1]) for one in said)
    assert first == again
    assert "is there already" not in said[0].stderr and said[1].stderr.count("is there already") == 2
    tables = [gpd.read_parquet(tmp_path / "cv" / f"fold-{fold}" / "data" / "blocks.parquet") for fold in range(2)]
    tested = [set(table[table["split"] == "test"]["block_id"]) for table in tables]
    assert tested[0] and tested[1] and not tested[0] & tested[1]
    assert tested[0] | tested[1] == set(tables[0]["block_id"])
    assert len(first["folds"]) == 2 and first["baseline"]["blocks"] == first["network"]["blocks"]
