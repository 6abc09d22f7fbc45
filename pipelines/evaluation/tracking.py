"""The MLflow store as later stages use it: the run that training left, if this store has it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines.config.settings import settings
from pipelines.errors import SwathError
from pipelines.files import read_json
from pipelines.training.tracking import numbers

log = logging.getLogger(__name__)

_SQLITE = "sqlite:///"


@contextmanager
def store() -> Iterator[MlflowClient]:
    """A client of the configured store; the folder of an SQLite file is made. MLflow's errors become ``SwathError``."""
    uri = settings().mlflow_uri
    if uri.startswith(_SQLITE):
        Path(uri.removeprefix(_SQLITE)).absolute().parent.mkdir(parents=True, exist_ok=True)
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield MlflowClient()
    except MlflowException as error:
        raise SwathError(f"MLflow at {uri} refused: {error.message}. Check MLFLOW_TRACKING_URI.") from error


def active_run(client: MlflowClient, run_id: str | None) -> Run | None:
    """The run, or ``None`` where this store has none of that id or it was deleted."""
    if not run_id:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def log_evaluation(data: Path, metrics: dict[str, Any]) -> None:
    """Log the scores, tables and plots of ``data/evaluation`` to the run of ``data/train``, if this store has it."""
    run_id = read_json(data / "train" / "run.json").get("run_id")
    with store() as client:
        if active_run(client, run_id) is None:
            log.info("This MLflow store has no run %s, so the scores are in data/metrics.json alone.", run_id)
            return
        now = int(time.time() * 1000)
        client.log_batch(run_id, [Metric(f"test.{name}", value, now, 0) for name, value in numbers(metrics).items()])
        for path in sorted((data / "evaluation").glob("*.*")):
            client.log_artifact(run_id, str(path), "evaluation")
