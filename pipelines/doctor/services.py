"""MLflow and Airflow, as they answer."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import httpx

from pipelines.doctor.finding import Finding, fault, fine, skipped, warning
from pipelines.errors import SwathError
from pipelines.files import read_json
from pipelines.local.airflow_api import Airflow
from pipelines.local.services import Services, recorded
from pipelines.secrets import without_secrets

_POOLS = ("gpu", "io")
_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def mlflow(uri: str) -> list[Finding]:
    """The tracking server answers, and is of the version that is installed here."""
    if not uri.startswith("http"):
        return [skipped("MLflow", f"{without_secrets(uri)} is used without a server")]
    here, shown = version("mlflow"), without_secrets(uri)
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/version", timeout=10, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        do = (
            "Check MLFLOW_TRACKING_URI and that the server runs; 403 means MLFLOW_SERVER_ALLOWED_HOSTS lacks this name."
        )
        return [fault("MLflow", f"{shown} does not answer: {without_secrets(str(error)) or type(error).__name__}", do)]
    if answer.text.strip() != here:
        do = "Run server and clients at one version (docs/operations.md, Moving to a new version)."
        return [warning("MLflow", f"{shown} is {answer.text.strip()[:40]}, and {here} is installed here.", do)]
    return [fine("MLflow", f"{shown} answers, version {here}")]


def installed() -> Services | None:
    """Where Airflow is: as `make up` recorded it, or as the environment of a compose service names it."""
    if found := recorded():
        return found
    if not (address := os.environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL")):
        return None
    user = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin").split(":")[0]
    file = Path(os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE") or "passwords.json")
    known = read_json(file) if os.access(file, os.R_OK) else {}
    airflow = address.removesuffix("/").removesuffix("/execution")
    mlflow = os.environ.get("MLFLOW_TRACKING_URI", "")
    return Services(instance="", airflow=airflow, mlflow=mlflow, user=user, password=known.get(user, ""), booted=0)


def airflow(services: Services | None) -> list[Finding]:
    """Its database and the heartbeats of its parts, as the server tells anyone."""
    if services is None:
        return [skipped("Airflow", "It is not up; `make up` starts it")]
    try:
        answer = httpx.get(f"{services.airflow}/api/v2/monitor/health", timeout=10, trust_env=False)
        answer.raise_for_status()
        parts = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        do = "Read logs/api-server.log; `make down`, then `make up`, starts it again."
        return [fault("Airflow", f"{services.airflow} does not answer: {error or type(error).__name__}", do)]
    findings = []
    for part in _PARTS:
        status = (parts.get(part) or {}).get("status")
        if status != "healthy":
            log = part.replace("_", "-")
            do = f"Read logs/{log}.log and start it again: `make down`, `make up`, or `docker compose restart {log}`."
            findings.append(fault("Airflow", f"Its {log} is {status or 'not running'}.", do))
    return findings or [
        fine("Airflow", f"{services.airflow}: database, scheduler, triggerer and dag-processor are well")
    ]


def dags(services: Services | None) -> list[Finding]:
    """Files of DAGs that fail to import, and the pools that tasks name. Needs the password of Airflow's login."""
    if services is None or not services.password:
        why = "Airflow is not up" if services is None else "the password of its login cannot be read here"
        return [skipped("DAGs", f"Not looked at, since {why}")]
    try:
        client = Airflow(services, patience=5)
        errors, pools = client.import_errors(), client.pools()
    except SwathError as error:
        return [fault("DAGs", str(error), "Make Airflow answer first; see what is said of it.")]
    except httpx.HTTPError as error:
        return [fault("DAGs", f"{services.airflow} does not answer: {error or type(error).__name__}", "Start Airflow.")]
    findings = [
        fault("DAGs", f"{file} cannot be imported: {trace.strip().splitlines()[-1]}", f"Correct {file}.")
        for file, trace in errors.items()
    ]
    for pool in _POOLS:
        if pools.get(pool, 0) < 1:
            what = f"The pool {pool} has no slots, so its tasks wait for ever." if pool in pools else f"No pool {pool}."
            findings.append(fault("DAGs", what, f"airflow pools set {pool} 1 'as tasks name it'"))
    return findings or [fine("DAGs", f"All are imported; pools {', '.join(_POOLS)} are there")]
