"""Waiting for what the scheduler does by itself."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.conftest import System

_LIMIT = 600  # seconds: not a promise, only so that a broken chain ends the test


def wait_for_run(system: System, dag: str, earlier: set[str]) -> dict[str, Any]:
    """The next run of ``dag`` that is not among ``earlier``, once it has ended well."""
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        new = [run for run in system.airflow.runs(dag) if run["dag_run_id"] not in earlier]
        if new and new[-1]["state"] in ("success", "failed"):
            assert new[-1]["state"] == "success", f"{dag} failed: {system.airflow.tasks(dag, new[-1]['dag_run_id'])}"
            return new[-1]
        time.sleep(0.5)
    raise AssertionError(f"no new run of {dag} ended within {_LIMIT} s")


def asked(system: System, earlier: set[str]) -> str:
    """The next run of ``train_model``, once it asks for approval."""
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        for run in (r["dag_run_id"] for r in system.airflow.runs("train_model") if r["dag_run_id"] not in earlier):
            task = next(t for t in system.airflow.tasks("train_model", run) if t["task_id"] == "approve")
            assert task["state"] not in ("success", "skipped", "failed", "upstream_failed"), task
            if task["state"] == "awaiting_input":
                return str(run)
        time.sleep(0.5)
    raise AssertionError(f"nobody was asked for approval within {_LIMIT} s")


def known(system: System, dag: str) -> set[str]:
    return {run["dag_run_id"] for run in system.airflow.runs(dag)}


def maker(system: System, run: dict[str, Any]) -> str:
    """The model version whose maps a run of ``predict_scenes`` set out to make."""
    path = f"/api/v2/dags/predict_scenes/dagRuns/{run['dag_run_id']}/taskInstances/plan/xcomEntries/plan"
    return str(system.airflow._call("GET", f"{path}?deserialize=false")["value"]["version"])
