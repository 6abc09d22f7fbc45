"""Tidying up after a run: its workspace goes when the run ends."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl

from pipelines.workspace.workspace import close_workspace, run_name


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    _close(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    _close(dag_run)


def _close(dag_run: Any) -> None:
    close_workspace(run_name(dag_run.dag_id, dag_run.run_id))
