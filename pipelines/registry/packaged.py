"""Which MLflow run holds the bundle that a workspace would give."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipelines.config.params import Params
from pipelines.errors import BadData
from pipelines.files import sha256

INPUTS = "swath.bundle_inputs"
MODEL_URI = "swath.model_uri"
_FILES = (
    "train/weights.safetensors",
    "train/model.json",
    "evaluation/calibration.json",
    "metrics.json",
    "blocks.parquet",
    "reference/index.json",
    "reference/looks.npz",
)


def packaged_run(client: MlflowClient, params: Params, data: Path) -> Run | None:
    """The run that holds the bundle which ``data`` would give, if there is one."""
    experiment = client.get_experiment_by_name(params.project)
    if experiment is None:
        return None
    wanted = f"tags.`{INPUTS}` = '{inputs(params, data)}'"
    runs = client.search_runs([experiment.experiment_id], wanted, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def inputs(params: Params, data: Path) -> str:
    """A hash of what a bundle is made of. The commit is not in it: the same model at a later commit is the same."""
    for name in _FILES:
        if not (data / name).exists():
            raise BadData(f"{data / name} is missing; run `dvc repro` before the model is packaged.")
    content = {
        "files": {name: sha256(data / name) for name in _FILES},
        "predict": params.predict.model_dump(include={"window", "overlap", "views", "batch", "max_change"}),
        "radiometry": params.scenes.radiometry.model_dump(mode="json"),
        "project": params.project,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
