"""From a packaged MLflow run to a version of the registered model, which is the challenger then."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, ConfigDict

from pipelines.bundle.contract import CONTRACT, SCENES, Contract
from pipelines.bundle.store import ARTIFACTS, BUNDLE_TAG
from pipelines.config.params import Params
from pipelines.errors import BadData
from pipelines.evaluation.tracking import active_run, store
from pipelines.files import read_json
from pipelines.lineage.run import airflow_run
from pipelines.registry import aliases
from pipelines.registry.packaged import MODEL_URI, packaged_run
from pipelines.training import tracking


class Registered(BaseModel):
    """A version of the registered model, which is the challenger now."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    run_id: str
    reused: bool


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
