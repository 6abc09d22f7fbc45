"""What MLflow and the maps keep of models that are of no use any more."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from pipelines.config import settings
from pipelines.depot import bring
from pipelines.errors import SwathError
from pipelines.inference.plan import write_catalog
from pipelines.inference.versions import version_folders
from pipelines.upkeep.halves import DAY

_NEEDED = """
    SELECT run_uuid, model_versions.name, version FROM model_versions JOIN runs ON runs.run_uuid = model_versions.run_id
    JOIN experiments ON experiments.experiment_id = runs.experiment_id
    WHERE 'deleted' IN (runs.lifecycle_stage, experiments.lifecycle_stage) LIMIT 1
"""


def remove_maps(project: str, champion: int | None, keep: int) -> list[str]:
    """Remove the maps of all versions but the champion's and the ``keep`` newest others; returns which went.

    They can be made again from their models. Nothing goes where there is no champion to tell which maps are in use.
    """
    predictions = settings().predictions / project
    versions = [number for number, _ in reversed(version_folders(predictions))]
    others = [number for number in versions if number != champion]
    gone = [f"v{number}" for number in others[keep:]] if champion is not None else []
    for name in gone:
        # renamed first, so that no half of it is ever listed
        doomed = (predictions / name).rename(predictions / f".{name}.work")
        shutil.rmtree(doomed)
    if gone:
        write_catalog(predictions, project)
    return gone


def remove_failed(days: int) -> int:
    """Delete trainings that failed more than ``days`` ago and are no version's; returns how many.

    Runs of others on the same server stay.
    MLflow keeps what is deleted until ``collect``, so that a person can bring it back meanwhile.
    """
    from pipelines.evaluation.tracking import store

    before = int((time.time() - days * DAY) * 1000)
    with store() as client:
        experiments = [one.experiment_id for one in client.search_experiments()]
        asked = f"tags.`swath.project` LIKE '%' and attributes.end_time < {before} and attributes.status = "
        runs = [run for word in ("'FAILED'", "'KILLED'") for run in client.search_runs(experiments, asked + word)]
        dead = [run.info.run_id for run in runs if not client.search_model_versions(f"run_id = '{run.info.run_id}'")]
        for run in dead:
            client.delete_run(run)
        return len(dead)


def collect(days: int) -> bool:
    """Remove for good what was deleted in MLflow more than ``days`` ago; whether this machine has its database.

    Raises ``SwathError`` where that would take the bundle of a registered version, which MLflow does not look at.
    """
    home = settings().home
    database = home / "mlflow" / "mlflow.db"
    if not database.is_file():
        return False
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        needed = connection.execute(_NEEDED).fetchone()
    if needed:
        raise SwathError(
            f"Nothing deleted in MLflow is removed for good, since run {needed[0]}, which is version {needed[2]} of "
            f"{needed[1]}, is deleted too; `mlflow runs restore --run-id {needed[0]}`, or delete the version."
        )
    command = ["-m", "mlflow", "gc", "--backend-store-uri", f"sqlite:///{database}", "--older-than", f"{days}d"]
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{database}"},
        cwd=home,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SwathError(f"mlflow gc failed; run it by hand on {database}: {done.stderr.strip()[-500:]}")
    return True


def project_folders() -> list[str]:
    """The projects that have maps, which are brought, if they lie in a store, without their bytes."""
    bring(settings().predictions, at_once=())
    return sorted(path.name for path in Path(settings().predictions).glob("[!.]*/") if version_folders(path))
