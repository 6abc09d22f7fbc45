"""Who is in charge, in the real scheduler, when an event comes twice or not at all, and when nobody answers."""

from __future__ import annotations

import time
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from pipelines.local.chain import run_chain
from pipelines.registry.aliases import REJECTER
from pipelines.workspace.source import pin
from plugins.approval import NOBODY
from tests.e2e.conftest import System
from tests.e2e.runs import known, wait_for_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def registry(system: System) -> MlflowClient:
    """The registry, once there is a champion."""
    if not any(run["state"] == "success" for run in system.airflow.runs("train_model")):
        run_chain(system.airflow, pin(system.checkout).commit, lambda tasks: None)
    return mlflow.MlflowClient(tracking_uri=system.services.mlflow)


def champion(registry: MlflowClient) -> str:
    return str(registry.get_model_version_by_alias("sample", "champion").version)


def push(system: System, **sections: dict[str, object]) -> str:
    system.change(**sections)
    system.git("commit", "--quiet", "--all", "--message", "Try something")
    return system.git("rev-parse", "HEAD")


def told_of_dataset(system: System) -> dict[str, Any]:
    """The newest event that told of a dataset."""
    found = system.airflow._call("GET", "/api/v2/assets/events?source_dag_id=build_dataset&order_by=-timestamp&limit=1")
    return dict(found["asset_events"][0])


def test_an_event_told_twice_more_trains_and_registers_nothing(system: System, registry: MlflowClient) -> None:
    before, trainings = champion(registry), known(system, "train_model")
    versions = len(registry.search_model_versions("name = 'sample'"))
    event = told_of_dataset(system)
    for _ in range(2):
        told = {"asset_id": event["asset_id"], "extra": event["extra"]}
        system.airflow._call("POST", "/api/v2/assets/events", json=told)
    training = wait_for_run(system, "train_model", trainings)
    stages = [system.airflow.result("train_model", training["dag_run_id"], stage) for stage in ("train", "evaluate")]
    assert all(stage["reused"] for stage in stages)
    assert len(registry.search_model_versions("name = 'sample'")) == versions
    assert champion(registry) == before


def test_what_a_lost_event_told_is_found_by_the_next_run_and_silence_rejects_it(
    system: System, registry: MlflowClient
) -> None:
    """Airflow keeps no event for a DAG that is paused."""
    before, builds, maps = champion(registry), known(system, "build_dataset"), known(system, "predict_scenes")
    system.airflow._call("PATCH", "/api/v2/dags/train_model", json={"is_paused": True})
    pushed = push(system, train={"lr": 0.005}, gate={"min_gain": -1.0, "approval": True, "approval_hours": 0.001})
    wait_for_run(system, "build_dataset", builds)
    system.airflow.unpause("train_model")
    trainings = known(system, "train_model")
    system.airflow.trigger("train_model", {})
    training = wait_for_run(system, "train_model", trainings)["dag_run_id"]
    released = system.airflow.result("train_model", training, "resolve_revision")["revision"]
    assert f"Swath-Source: {pushed}" in system.git("show", "-s", "--format=%B", released)
    gate = system.airflow.result("train_model", training, "gate")
    assert gate["verdict"] == "promote"
    assert registry.get_model_version("sample", gate["challenger"]).tags[REJECTER] == NOBODY
    assert champion(registry) == before
    time.sleep(3)
    assert known(system, "predict_scenes") == maps, "a champion that stayed is no news"
