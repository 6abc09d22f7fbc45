"""One chain through the real scheduler: scenes, dataset, model, maps, drift."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import read_json
from pipelines.local.airflow_api import Airflow
from pipelines.workspace.workspace import run_name

# Each DAG, and the task whose success tells the asset that starts the next one.
CHAIN = {
    "ingest_scenes": "publish",
    "build_dataset": "version_and_push",
    "train_model": "promote",
    "predict_scenes": "publish",
    "monitor_drift": "decide",
}
_DONE = ("success", "failed")
_PAUSE = 0.7  # seconds between two looks
_EVENT_LIMIT = 60  # seconds in which an idle scheduler turns an event into a run


class TaskState(BaseModel):
    """A task instance as the progress display shows it."""

    model_config = ConfigDict(frozen=True)

    dag: str
    run: str
    task: str
    index: int
    state: str
    seconds: float
    share: float | None = None  # done, 0 to 1, where the task tells
    note: str = ""


class DagResult(BaseModel):
    """A finished run and what its tasks returned, by task id."""

    model_config = ConfigDict(frozen=True)

    dag: str
    run: str
    seconds: float
    task_seconds: float
    command_seconds: float
    results: dict[str, dict[str, Any]]


def run_chain(airflow: Airflow, revision: str, watch: Callable[[list[TaskState]], None]) -> list[DagResult]:
    """Ingest, build, train, predict and watch at ``revision``; every DAG through the scheduler.

    A DAG is started by the event of the one before it, as it would be on a schedule; where nothing changed there is
    no event, and it is started by hand. Raises ``SwathError`` that names the failed task and its log.
    """
    airflow.wait_for_dags(list(CHAIN))
    for dag in CHAIN:
        airflow.unpause(dag)
    finished: list[DagResult] = []
    before = None  # the run that told the scheduler of a change
    for dag in CHAIN:
        run = _started_by(airflow, dag, before) if before else None
        run = run or airflow.trigger(dag, {"revision": revision})
        result, told = _follow(airflow, dag, run, watch)
        finished.append(result)
        before = run if told else None
    return finished


def run_events(
    airflow: Airflow,
    first: tuple[str, str],
    arrows: Sequence[tuple[str, str]],
    watch: Callable[[list[TaskState]], None],
) -> dict[str, DagResult]:
    """Follow the run ``first``, a DAG and a run of it, and those that events start after it.

    ``arrows`` name the DAG that tells and the one that it starts, in the order in which they are waited for. Raises
    ``SwathError`` where one tells of no change, so that the next does not start, and where a task fails.
    """
    (dag, run), told = first, {}
    done: dict[str, DagResult] = {}
    done[dag], told[dag] = _follow(airflow, dag, run, watch)
    for before, dag in arrows:
        started = _started_by(airflow, dag, done[before].run) if told[before] else None
        if started is None:
            why = "no run followed its event" if told[before] else "it told of no change"
            raise SwathError(f"{before} should have started {dag}, but {why}; look at its run {done[before].run}.")
        done[dag], told[dag] = _follow(airflow, dag, started, watch)
    return done


def _started_by(airflow: Airflow, dag: str, cause: str) -> str | None:
    """The run of ``dag`` that an event of the run ``cause`` started; ``None`` if none starts though none is at work.

    While another run is at work Airflow starts no more, and it may drop an event that comes then.
    """
    idle, others = time.monotonic(), set[str]()
    while time.monotonic() - idle < _EVENT_LIMIT:
        runs = airflow.runs(dag)
        for run in (r["dag_run_id"] for r in runs if r["run_type"] == "asset_triggered"):
            causes = set() if run in others else airflow.cause(dag, run)
            if causes is None:
                idle = time.monotonic()
            elif cause in causes:
                return str(run)
            else:
                others.add(run)
        if any(run["state"] not in _DONE for run in runs):
            idle = time.monotonic()
        time.sleep(_PAUSE)
    return None


def _follow(airflow: Airflow, dag: str, run: str, watch: Callable[[list[TaskState]], None]) -> tuple[DagResult, bool]:
    while True:
        state = airflow.run(dag, run)
        tasks = airflow.tasks(dag, run)
        watch([_task_state(dag, run, task) for task in tasks])
        if state["state"] in _DONE:
            break
        time.sleep(_PAUSE)
    broken = [t for t in tasks if t["state"] in ("failed", "upstream_failed")]
    if state["state"] == "failed" and not broken:
        raise SwathError(f"{dag} failed, though none of its tasks did; look at its run {run} in Airflow.")
    if state["state"] == "failed":
        first = min(broken, key=lambda t: (t["state"] != "failed", t["end_date"] or ""))
        raise SwathError(f"{dag}.{first['task_id']} failed; read {_log(first, run)}")
    results = {t["task_id"]: airflow.result(dag, run, t["task_id"]) for t in tasks if t["map_index"] == -1}
    last = next((t for t in tasks if t["task_id"] == CHAIN[dag]), None)
    told = last is not None and last["state"] == "success"
    done = DagResult(
        dag=dag,
        run=run,
        seconds=float(state.get("duration") or 0),
        task_seconds=sum(t["duration"] or 0 for t in tasks),
        command_seconds=sum(r.get("command_seconds", 0) for r in results.values()),
        results=results,
    )
    return done, told


def _task_state(dag: str, run: str, task: dict[str, Any]) -> TaskState:
    share, note = _progress(dag, run, task) if task["state"] == "running" else (None, "")
    return TaskState(
        dag=dag,
        run=run,
        task=task["task_id"],
        index=task["map_index"],
        state=task["state"] or "waiting",
        seconds=float(task["duration"] or 0),
        share=share,
        note=note,
    )


def _progress(dag: str, run: str, task: dict[str, Any]) -> tuple[float | None, str]:
    try:
        shard = f".{task['map_index']}" if task["map_index"] >= 0 else ""
        told = read_json(settings().home / "progress" / f"{run_name(dag, run)}.{task['task_id']}{shard}.json")
    except (OSError, ValueError):
        return None, ""
    return (told["done"] / told["total"] if told["total"] else None), str(told["what"])


def _log(task: dict[str, Any], run: str) -> str:
    folder = (
        settings().home / "logs" / "tasks" / f"dag_id={task['dag_id']}" / f"run_id={run}" / f"task_id={task['task_id']}"
    )
    if task["map_index"] >= 0:
        folder = folder / f"map_index={task['map_index']}"
    return str(folder / f"attempt={task['try_number']}.log")
