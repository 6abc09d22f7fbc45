"""From a workspace's files to an MLflow run that holds the bundle and the model."""

from __future__ import annotations

import logging
import os
from pathlib import Path

# Before mlflow is imported: nothing here ever unpickles.
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from pydantic import BaseModel, ConfigDict

from pipelines.bundle.contract import CONTRACT, Contract
from pipelines.bundle.store import ARTIFACTS
from pipelines.config.params import Params
from pipelines.evaluation.tracking import active_run, store
from pipelines.files import read_json, sha256
from pipelines.lineage.revision import revision
from pipelines.registry import aliases
from pipelines.registry.packaged import INPUTS, MODEL_URI, inputs, packaged_run
from pipelines.training import tracking

log = logging.getLogger(__name__)


class Packaged(BaseModel):
    """A run with a bundle in it."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    digest: str  # sha256 of the bundle's contract, which lists the digests of all its files
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
        # with torch and all networks, which takes seconds, and is not needed for a bundle that is there
        from pipelines.bundle.build import build

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
        mlflow.set_tags({MODEL_URI: uri, INPUTS: inputs(params, data), aliases.BUNDLE_DIGEST: digest})
    return Packaged(run_id=run_id, digest=digest, reused=False)


def _log_model(data: Path, contract: Contract) -> str:
    """Log the model as MLflow's own pt2, so that MLflow alone can load it; returns its URI."""
    import torch

    from pipelines.training.checkpoint import load_trained

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
