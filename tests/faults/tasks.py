"""The commands of the DAGs' tasks, as the operators would start them, without a scheduler."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jinja2
from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from pipelines.lineage.run import RUN
from pipelines.workspace.stage import LOCK
from plugins.commands import SwathOperator
from tests.checkout import ROOT

CHAIN = ("ingest_scenes", "build_dataset", "train_model", "predict_scenes", "monitor_drift", "maintain")
RUN_ID = "fault"

Results = dict[tuple[str, str], dict[str, Any]]  # by DAG and task


@dataclass(frozen=True)
class Command:
    """One task instance: ``swath`` with ``arguments``, and what the operator adds to the environment."""

    dag: str
    task: str
    index: int  # of a mapped task; -1 otherwise
    arguments: tuple[str, ...]
    environment: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.dag}.{self.task}" + (f"[{self.index}]" if self.index >= 0 else "")


def commands(revision: str, results: Results) -> Iterator[Command]:
    """Every command of the chain in its order; whoever takes one puts its result into ``results`` before the next."""
    for dag_id in CHAIN:
        dag = _dag(dag_id)
        for task in dag.topological_sort():
            if isinstance(task, MappedOperator):
                plan = next(r["shards"] for (d, _), r in results.items() if d == dag_id and "shards" in r)
                for index in range(plan):
                    given = {name: value for name, value in task.partial_kwargs.items() if name in _OURS}
                    one = SwathOperator(task_id=task.task_id, shard=index, dag=None, **given)
                    yield _command(dag, one, index, revision, results)
            elif isinstance(task, SwathOperator):
                yield _command(dag, task, -1, revision, results)


_OURS = ("command", "revision")


def _command(dag: DAG, task: SwathOperator, index: int, revision: str, results: Results) -> Command:
    class Pulled:
        task_id = task.task_id

        @staticmethod
        def xcom_pull(task_ids: str, key: str = "return_value") -> Any:
            return results.get((dag.dag_id, task_ids))

    form = dag.params.dump() | {"revision": revision}
    said = {"ti": Pulled(), "params": form, "dag_run": None, "day": lambda asked, run: asked}
    task.command, task.revision, task.lock = (_rendered(v, said) for v in (task.command, task.revision, task.lock))
    context = {"dag": SimpleNamespace(dag_id=dag.dag_id), "run_id": RUN_ID, "params": form}
    environment = {LOCK: task._merged_lock(), RUN: f"{dag.dag_id}/{RUN_ID}"}
    return Command(dag.dag_id, task.task_id, index, tuple(task.arguments(context)), environment)


def _rendered(value: Any, said: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_rendered(one, said) for one in value]
    return jinja2.Environment(autoescape=False).from_string(value).render(**said) if isinstance(value, str) else value


def _dag(dag_id: str) -> DAG:
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    spec = importlib.util.spec_from_file_location(f"fault_{dag_id}", ROOT / "dags" / f"{dag_id}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dag
