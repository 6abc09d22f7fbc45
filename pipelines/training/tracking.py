"""One MLflow run: parameters, curves, system metrics, the dataset, plots."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, when mlflow is imported
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # the commit is tagged from the workspace, not guessed

import mlflow
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from pipelines.config.settings import settings
from pipelines.errors import SwathError
from pipelines.lineage.revision import Revision
from pipelines.lineage.run import airflow_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_DIGEST = 36  # MLflow's limit; DVC's hash of a folder, 32 digits and ".dir", just fits
_SAMPLING = 2.0  # seconds between system metrics
_REFUSED = re.compile(r"[^\w\-. :]")  # by MLflow in a name, or taken for a folder
_SQLITE = "sqlite:///"


@contextmanager
def tracked(project: str, former: str | None) -> Iterator[str]:
    """Open a run in the experiment ``project``, or go on with the run ``former``, and yield its id.

    The run ends as FINISHED, or as FAILED on an exception. Raises ``SwathError`` when MLflow does not answer.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        mlflow.set_tracking_uri(settings().mlflow_uri)
        experiment = _experiment(project)
        if "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL" not in os.environ:
            mlflow.set_system_metrics_sampling_interval(_SAMPLING)
        run = mlflow.start_run(
            run_id=former if former and _exists(former) else None, experiment_id=experiment, log_system_metrics=True
        )
        with run:
            yield str(run.info.run_id)
    except MlflowException as error:
        raise SwathError(
            f"MLflow at {settings().mlflow_uri} refused: {error.message}. Check MLFLOW_TRACKING_URI."
        ) from error


def log_start(project: str, task: str, parameters: Mapping[str, Any], revision: Revision, fallback: str) -> None:
    """Log parameters, tags and the dataset. ``fallback`` is the digest of a dataset that DVC has not seen."""
    mlflow.log_params({name: str(value) for name, value in flat(parameters).items()})
    tags = {"project": project, "task": task, "commit": revision.commit, "dataset": revision.dataset}
    tags |= {"airflow_run": airflow_run()}
    mlflow.set_tags({f"swath.{name}": value for name, value in tags.items() if value})
    where = {"path": "data/chips", "commit": revision.commit, "dvc": revision.dataset}
    digest = (revision.dataset or fallback)[:_LONGEST_DIGEST]
    mlflow.log_input(MetaDataset(CodeDatasetSource(where), name=f"{project} chips", digest=digest), context="training")


def log_epoch(epoch: int, values: Mapping[str, float]) -> None:
    mlflow.log_metrics(numbers(values), step=epoch)


def log_figure(name: str, figure: Figure) -> None:
    mlflow.log_figure(figure, f"plots/{name}.png", save_kwargs={"dpi": 110})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among ``values``, flat, by names that MLflow takes, whatever classes are called."""
    found: dict[str, float] = {}
    for name, value in flat(values).items():
        if isinstance(value, int | float):
            taken = _REFUSED.sub("_", name)
            found[taken if taken not in found else f"{taken} {len(found)}"] = float(value)
    return found


def _experiment(name: str) -> str:
    """Id of the experiment. In an SQLite store its artifacts lie beside the database, not in the current folder."""
    place = None
    if (uri := settings().mlflow_uri).startswith(_SQLITE):
        database = Path(uri.removeprefix(_SQLITE)).absolute()
        database.parent.mkdir(parents=True, exist_ok=True)
        place = (database.parent / "artifacts").as_uri()
    if found := mlflow.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(mlflow.create_experiment(name, artifact_location=place))
    except MlflowException:
        if found := mlflow.get_experiment_by_name(name):  # another process was first
            return str(found.experiment_id)
        raise


def _exists(run: str) -> bool:
    try:
        return bool(mlflow.get_run(run).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return False
        raise
