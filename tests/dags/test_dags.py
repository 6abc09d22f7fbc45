from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables import trigger
from airflow.timetables.base import TimeRestriction

from plugins.notices import tell_drift
from tests.dags.conftest import ROOT, read_dags

EXPECTED = {
    "ingest_scenes": ["search", "fetch", "validate", "publish", "complete"],
    "build_dataset": [
        "resolve_revision",
        "snapshot",
        "split_and_certify",
        "chip",
        "validate",
        "statistics",
        "reference_profile",
        "version_and_push",
    ],
    "train_model": ["resolve_revision", "train", "evaluate", "package", "register", "gate", "approve", "promote"],
    "predict_scenes": ["plan", "predict", "publish", "complete"],
    "monitor_drift": ["profile", "compare", "report", "decide"],
    "rollback_model": ["rollback"],
    "maintain": ["orphans", "metadata"],
}
HEAVY = {"torch", "rasterio", "mlflow", "whylogs", "great_expectations", "pandas", "lightning"}


def test_every_dag_has_the_tasks_that_the_graph_promises(dags: dict[str, DAG]) -> None:
    assert {name: sorted(dag.task_ids) for name, dag in dags.items()} == {k: sorted(v) for k, v in EXPECTED.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_dag_is_documented_owned_and_bounded(dags: dict[str, DAG], name: str) -> None:
    dag = dags[name]
    dag.check_cycle()
    assert dag.doc_md and len(dag.doc_md) > 30
    assert "swath" in dag.tags and dag.description
    assert dag.max_active_runs == 1 and not dag.catchup
    for task in dag.tasks:
        assert task.owner == "swath"
        assert task.retries and task.retries >= 1
        assert task.execution_timeout is not None
        assert task.on_failure_callback, f"{task.task_id} would fail in silence"


def test_drift_and_late_runs_are_told(dags: dict[str, DAG]) -> None:
    assert tell_drift in dags["monitor_drift"].get_task("decide").on_success_callback
    for name, dag in dags.items():
        (alert,) = dag.deadline
        hours = alert.interval / timedelta(hours=1)
        assert hours == (72 if name == "train_model" else 24), name


def test_what_goes_on_after_a_failure_and_what_does_not(dags: dict[str, DAG]) -> None:
    rules = {(name, task.task_id): str(task.trigger_rule) for name, dag in dags.items() for task in dag.tasks}
    told = {key: rule.rpartition(".")[2].lower() for key, rule in rules.items() if "all_success" not in rule.lower()}
    assert told == {
        ("ingest_scenes", "publish"): "all_done",
        ("ingest_scenes", "complete"): "none_failed",
        ("predict_scenes", "publish"): "all_done",
        ("predict_scenes", "complete"): "none_failed",
        ("train_model", "promote"): "none_failed",
    }
    for name in ("ingest_scenes", "predict_scenes"):
        (leaf,) = dags[name].leaves
        assert leaf.upstream_task_ids == set(dags[name].task_ids) - {"complete"}, (
            "a shard's failure must show in the run"
        )


@pytest.mark.parametrize("name", EXPECTED)
def test_every_form_field_is_typed_and_described(dags: dict[str, DAG], name: str) -> None:
    for key in dags[name].params:
        param = dags[name].params.get_param(key)
        assert param.schema.get("type"), f"{name}.{key} has no type"
        assert param.description, f"{name}.{key} has no description"


@pytest.mark.parametrize("name", ["ingest_scenes", "predict_scenes", "monitor_drift", "maintain"])
def test_a_dag_that_is_switched_on_waits_for_its_time(
    dags: dict[str, DAG], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timetable = decode_timetable(encode_timetable(dags[name].timetable))
    for hour in range(24):  # of a Sunday, on which the weekly one is due too
        now = pendulum.datetime(2026, 1, 4, hour, 3)
        monkeypatch.setattr(trigger, "utcnow", lambda now=now: now)
        first = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
        )
        assert first is not None and first.run_after is not None and first.run_after > now


@pytest.mark.parametrize("name", ["ingest_scenes", "predict_scenes", "monitor_drift", "maintain"])
@pytest.mark.parametrize(("told", "by_the_clock"), [("off", False), ("on", True), ("of", True)])
def test_the_clock_is_switched_off_for_all_and_events_stay(
    dags: dict[str, DAG], name: str, told: str, by_the_clock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_SCHEDULE", told)
    timetable = decode_timetable(encode_timetable(read_dags()[name].timetable))
    usual = decode_timetable(encode_timetable(dags[name].timetable))
    assert _events(timetable) == _events(usual)
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert (first is not None) == by_the_clock


def _events(timetable: Any) -> list[str]:
    return sorted(asset.name for _, asset in timetable.asset_condition.iter_assets())


def test_parsing_imports_nothing_heavy() -> None:
    code = (
        "import importlib.util, json, pathlib, sys\n"
        "for file in sorted(pathlib.Path('dags').glob('*.py')):\n"
        "    spec = importlib.util.spec_from_file_location(file.stem, file)\n"
        "    spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_each_command_of_a_dag_exists(dags: dict[str, DAG]) -> None:
    import typer

    from pipelines.cli.main import commands

    root: Any = typer.main.get_command(commands())
    for dag in dags.values():
        for task in dag.tasks:
            words = list(
                getattr(task, "command", None) or (getattr(task, "partial_kwargs", {}) or {}).get("command", [])
            )
            found = root
            for word in words:
                if hasattr(found, "commands"):
                    assert word in found.commands, f"{dag.dag_id}.{task.task_id} calls swath {' '.join(words)}"
                    found = found.commands[word]
