"""From a workspace's files to a packaged MLflow run, and from that to a version of the registered model."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

# Before mlflow is imported: nothing here ever unpickles.
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

import mlflow
import numpy as np
import torch
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import Schema, TensorSpec
from pydantic import BaseModel, ConfigDict

from pipelines.bundle.build import build
from pipelines.bundle.contract import CONTRACT, SCENES, Contract
from pipelines.bundle.store import ARTIFACTS, BUNDLE_TAG
from pipelines.config.params import Params
from pipelines.errors import BadData
from pipelines.evaluation.tracking import active_run, store
from pipelines.files import read_json, sha256
from pipelines.lineage.revision import revision
from pipelines.lineage.run import airflow_run
from pipelines.registry import aliases
from pipelines.training import tracking
from pipelines.training.checkpoint import load_trained

log = logging.getLogger(__name__)

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


class Packaged(BaseModel):
    """A run with a bundle in it."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    digest: str  # sha256 of the bundle's contract, which lists the digests of all its files
    reused: bool


class Registered(BaseModel):
    """A version of the registered model, which is the challenger now."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    run_id: str
    reused: bool


def package(workspace: Path, params: Params) -> Packaged:
    """Build the bundle of ``workspace`` into ``data/bundle`` and log it, with the model, to the run that trained it.

    A bundle of the same weights, scores and settings is packaged once: its run is found again. Where this store lacks
    the training run, or that run holds another bundle, a run is made from the workspace's files. Raises ``BadData``
    naming the stage to run where something is missing, ``SwathError`` when MLflow does not answer.
    """
    data = Path(workspace) / "data"
    with store() as client:
        if found := packaged_run(client, params, data):
            digest = found.data.tags[aliases.BUNDLE_DIGEST]
            log.info("Run %s holds this bundle already.", found.info.run_id)
            return Packaged(run_id=found.info.run_id, digest=digest, reused=True)
        contract = build(Path(workspace), params, data / "bundle")
        trained = active_run(client, read_json(data / "train" / "run.json").get("run_id"))
        if trained and aliases.BUNDLE_DIGEST in trained.data.tags:
            log.info("Run %s holds another bundle, so this one gets a run of its own.", trained.info.run_id)
            trained = None
        elif not trained:
            log.info("This MLflow store lacks the run that trained the model; one is made from the workspace's files.")
    digest = sha256(data / "bundle" / CONTRACT)
    with tracking.tracked(params.project, trained.info.run_id if trained else None) as run_id:
        if not trained:
            _describe(contract, params, data, Path(workspace))
        mlflow.log_artifacts(str(data / "bundle"), ARTIFACTS)
        uri = _log_model(data, contract)
        # Last, because they say that all the rest is there.
        mlflow.set_tags({MODEL_URI: uri, INPUTS: _inputs(params, data), aliases.BUNDLE_DIGEST: digest})
    return Packaged(run_id=run_id, digest=digest, reused=False)


def packaged_run(client: MlflowClient, params: Params, data: Path) -> Run | None:
    """The run that holds the bundle which ``data`` would give, if there is one."""
    experiment = client.get_experiment_by_name(params.project)
    if experiment is None:
        return None
    wanted = f"tags.`{INPUTS}` = '{_inputs(params, data)}'"
    runs = client.search_runs([experiment.experiment_id], wanted, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def register(workspace: Path, params: Params, run_id: str | None = None) -> Registered:
    """Make the bundle of ``run_id``, or the workspace's own, a version and the challenger. A run has one version.

    Raises ``BadData`` if the run holds no bundle.
    """
    with store() as client:
        run = active_run(client, run_id) if run_id else packaged_run(client, params, Path(workspace) / "data")
        if run is None or aliases.BUNDLE_DIGEST not in run.data.tags:
            raise BadData(
                f"{f'Run {run_id}' if run_id else 'No run'} holds this bundle; run `swath model package` first."
            )
        name = params.project
        known = [v for v in aliases.versions(client, name) if v.run_id == run.info.run_id]
        version = known[-1] if known else _new_version(client, name, run)
        client.set_registered_model_alias(name, aliases.CHALLENGER, str(version.version))
        return Registered(name=name, version=str(version.version), run_id=run.info.run_id, reused=bool(known))


def _new_version(client: MlflowClient, name: str, run: Run) -> ModelVersion:
    try:
        client.create_registered_model(name, description=f"Maps the scenes of {name}, by Swath.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    with tempfile.TemporaryDirectory() as scratch:
        path = client.download_artifacts(run.info.run_id, f"{ARTIFACTS}/{CONTRACT}", scratch)
        contract = Contract.model_validate(read_json(Path(path)))
    scores = {name: contract.metrics.get(name) for name in ("miou", "accuracy", "f1", "ece", "boundary")}
    made_from = contract.revision
    tags = {
        BUNDLE_TAG: f"runs:/{run.info.run_id}/{ARTIFACTS}",
        aliases.BUNDLE_DIGEST: run.data.tags[aliases.BUNDLE_DIGEST],
        aliases.COMMIT: made_from.commit or "",
        aliases.DATASET: made_from.dataset or "",
        aliases.SCENES: contract.files.get(SCENES, ""),
        aliases.REGISTERED_BY: airflow_run() or "",
    } | {f"swath.{key}": f"{value:.4f}" for key, value in tracking.flat(scores).items() if value is not None}
    uri = run.data.tags[MODEL_URI]
    return client.create_model_version(
        name, uri, run.info.run_id, tags=tags, model_id=uri.removeprefix("models:/"), description=_sentence(contract)
    )


def _sentence(contract: Contract) -> str:
    miou, model = contract.metrics["miou"], contract.model
    ends = "" if miou["low"] is None else f" ({miou['low']:.3f} to {miou['high']:.3f})"
    return (
        f"{model.called}, {len(contract.bands)} bands, {len(contract.classes)} classes; "
        f"test mIoU {miou['value']:.3f}{ends}."
    )


def _log_model(data: Path, contract: Contract) -> str:
    """Log the model as MLflow's own pt2, so that MLflow alone can load it; returns its URI."""
    module, _ = load_trained(data / "train")
    bands, classes = len(contract.bands), len(contract.classes)
    example = np.zeros((2, bands, 128, 96), np.float32)  # sides that differ, so that none is taken for another
    example += contract.means[:, None, None]
    free = (-1, -1)
    info = mlflow.pytorch.log_model(
        module,
        name="model",
        input_example=example,
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, bands, *free))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, classes, *free))]),
        ),
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}"],
    )
    return str(info.model_uri)


def _describe(contract: Contract, params: Params, data: Path, workspace: Path) -> None:
    """Give a run that was not there at training what can still be said."""
    settings = {"project": params.project, "model": contract.model.model_dump(mode="json")}
    tracking.log_start(params.project, params.task, settings, revision(workspace), sha256(data / "manifest.json"))
    if trained_by := read_json(data / "train" / "run.json").get("run_id"):
        mlflow.set_tag("swath.trained_by", trained_by)
    mlflow.log_metrics({f"test.{name}": value for name, value in tracking.numbers(contract.metrics).items()})


def _inputs(params: Params, data: Path) -> str:
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
