"""A bundle as the champion of a project, in the MLflow store that the settings name."""

from __future__ import annotations

from pathlib import Path

from pipelines.bundle.store import ARTIFACTS
from pipelines.config import settings
from pipelines.evaluation.tracking import store
from pipelines.registry.aliases import CHAMPION


def crown(project: str, bundle: Path) -> str:
    """Log ``bundle`` to a run of its own, make that a version, and put it in charge; returns its number."""
    with store() as client:
        place = (settings().home / "mlflow" / "artifacts").as_uri()
        experiment = client.get_experiment_by_name(project)
        run = client.create_run(experiment.experiment_id if experiment else client.create_experiment(project, place))
        client.log_artifacts(run.info.run_id, str(bundle), ARTIFACTS)
        client.set_terminated(run.info.run_id)
        if not client.search_registered_models(f"name = '{project}'"):
            client.create_registered_model(project)
        source = f"{run.info.artifact_uri}/{ARTIFACTS}"
        version = client.create_model_version(project, source, run.info.run_id)
        client.set_registered_model_alias(project, CHAMPION, version.version)
        return str(version.version)
