"""All checks, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.config import Params, settings
from pipelines.doctor import folders, leftovers, packages, repository, secrets, services, store, variables
from pipelines.doctor.champion import champion
from pipelines.doctor.databases import database
from pipelines.doctor.finding import Finding, fault
from pipelines.inference.memory import parse_size

# The clients of MLflow and of stores try for minutes what will not come.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15", "AWS_MAX_ATTEMPTS": "2"}


def examine(checkout: Path, params: Params) -> Iterator[Finding]:
    """What each check finds, as it comes. A check that breaks is itself a fault; the others go on."""
    os.environ.update(_IMPATIENT)
    for check in _checks(checkout, params):
        try:
            yield from check()
        except Exception as error:
            what = f"A check failed with {type(error).__name__}: {error}"
            yield fault("Doctor", what, "Mend what it names, or tell the authors of Swath.")


def _checks(checkout: Path, params: Params) -> Iterator[Callable[[], list[Finding]]]:
    here = settings()
    airflow = services.installed()
    named = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    places = {
        "SWATH_HOME": here.home,
        "SWATH_CATALOG": here.catalog,
        "SWATH_PREDICTIONS": here.predictions,
        "SWATH_REPORTS": here.reports,
        "SWATH_DVC_CACHE": here.dvc_cache,
    }
    locks = [*here.home.glob("*.lock"), *here.home.glob("workspaces/.*.lock"), *here.catalog.glob("*/.lock")]
    work = [*here.home.glob("workspaces/[!.]*"), checkout]
    yield packages.python
    yield lambda: packages.packages(checkout / "requirements.lock")
    yield lambda: variables.unknown(os.environ)
    yield lambda: secrets.private(secrets.secret_files(here.home, checkout, Path(named) if named else None))
    yield lambda: folders.writable(places)
    yield lambda: folders.room(places.values(), folders.need_of_a_run(here.catalog / params.project))
    yield lambda: folders.memory(parse_size(params.predict.max_memory))
    yield lambda: leftovers.held_locks(locks)
    yield lambda: leftovers.dvc_locks(work)
    yield lambda: leftovers.orphans(here.home / "workspaces")
    yield lambda: leftovers.half_written(here)
    yield lambda: repository.watched(here.git_remote, here.git_branch)
    yield lambda: repository.remote(here.dvc_remote)
    yield store.kept
    if "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in os.environ:  # or another database than ours is used
        yield lambda: database(here.home / "airflow" / "airflow.db", "airflow", "`make up` migrates it.")
    if here.mlflow_uri.startswith("sqlite") or (airflow is not None and airflow.instance):
        runs = here.home / "mlflow" / "mlflow.db"
        yield lambda: database(runs, "mlflow", f"mlflow db upgrade sqlite:///{runs}")
    yield lambda: services.mlflow(here.mlflow_uri)
    yield lambda: services.airflow(airflow)
    yield lambda: services.dags(airflow)
    yield lambda: champion(params)
