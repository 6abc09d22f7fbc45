"""The whole chain in the real scheduler, started as users start it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import mlflow
import pytest
import rasterio

from pipelines.files import read_json
from pipelines.local.chain import DagResult, run_chain
from pipelines.workspace.source import pin
from tests.e2e.conftest import ROOT, System
from tests.e2e.runs import asked, known, wait_for_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def chain(system: System) -> dict[str, DagResult]:
    pinned = pin(system.checkout)
    assert pinned.edited
    return {result.dag: result for result in run_chain(system.airflow, pinned.commit, lambda tasks: None)}


def see_pictures(page: Any, system: System, run: str) -> None:
    """Look at what a person who is asked sees: each picture of the test blocks, loaded, and in its place."""
    page.goto(f"{system.services.airflow}/dags/train_model/runs/{quote(run, safe='')}/tasks/approve/required_actions")
    version = mlflow.MlflowClient(tracking_uri=system.services.mlflow).get_model_version_by_alias(
        "sample", "challenger"
    )
    pictures = page.locator(f"img[src*='swath/p/sample/models/{version.version}/']")
    pictures.last.wait_for()
    page.wait_for_function("[...document.images].every(one => one.complete)")
    shown = pictures.evaluate_all("all => all.map(one => [one.src.split('/').pop(), one.naturalWidth])")
    kinds = [
        f"{rank}-{kind}.png" for rank in ("worst", "median") for kind in ("image", "labels", "challenger", "champion")
    ]
    assert [name for name, _ in shown] == [*kinds, "legend.png"] and all(width > 16 for _, width in shown), shown
    address = page.evaluate("document.images[document.images.length - 1].src")
    assert httpx.get(address, trust_env=False).status_code == 401


def test_scenes_become_a_certified_tagged_dataset(system: System, chain: dict[str, DagResult]) -> None:
    build = chain["build_dataset"].results
    assert build["split_and_certify"]["summary"]["clean"]
    version = build["version_and_push"]
    assert version["tag"] == "dataset/sample/v1"
    assert system.git("rev-parse", f"{version['tag']}^{{commit}}") == version["revision"]
    assert "data/chips" in system.git("show", f"{version['revision']}:dvc.lock")
    assert version["source"] == pin(system.checkout).commit != system.git("rev-parse", "HEAD")


def test_the_model_is_registered_with_the_reasons_of_its_decision(system: System, chain: dict[str, DagResult]) -> None:
    gate = chain["train_model"].results["gate"]
    client = mlflow.MlflowClient(tracking_uri=system.services.mlflow)
    version = client.get_model_version("sample", gate["challenger"])
    written = " ".join(version.tags.values())
    assert gate["verdict"] == "promote"
    assert client.get_model_version_by_alias("sample", "champion").version == str(gate["challenger"])
    assert all(reason in written for reason in gate["reasons"])


def test_each_scene_is_mapped_on_its_own_grid_by_the_champion(system: System, chain: dict[str, DagResult]) -> None:
    maps = sorted((system.home / "predictions" / "sample").glob("v1/*/classes.tif"))
    scenes = {p.name: p for p in (system.home / "catalog" / "sample" / "scenes").iterdir()}
    assert {p.parent.name for p in maps} == set(scenes)
    for path in maps:
        with rasterio.open(path) as made, rasterio.open(scenes[path.parent.name] / "image.tif") as image:
            assert (made.transform, made.crs, made.shape) == (image.transform, image.crs, image.shape)


def test_drift_is_decided_and_its_report_written(system: System, chain: dict[str, DagResult]) -> None:
    assert chain["monitor_drift"].results["decide"]["verdict"] in ("none", "warning", "drift")
    report = Path(chain["monitor_drift"].results["report"]["report"]).read_text()
    assert report.lower().startswith("<!doctype html>") and "B08" in report


def test_a_run_that_takes_longer_than_it_may_is_told_of(system: System, chain: dict[str, DagResult]) -> None:
    notices = [read_json(path) for path in (system.home / "notices").glob("*.json")]
    late = {(notice["dag"], notice["run"]) for notice in notices if notice["kind"] == "late"}
    assert ("train_model", chain["train_model"].run) in late


def test_a_push_builds_and_then_trains_at_its_commit_once_a_person_has_seen_why(
    system: System, chain: dict[str, DagResult], page: Any
) -> None:
    builds, trainings = known(system, "build_dataset"), known(system, "train_model")
    system.change(train={"lr": 0.003}, gate={"min_gain": -1.0, "approval": True})
    system.git("commit", "--quiet", "--all", "--message", "Learn faster")
    pushed = system.git("rev-parse", "HEAD")
    build = wait_for_run(system, "build_dataset", builds)
    assert build["run_type"] == "asset_triggered"
    assert system.airflow.result("build_dataset", build["dag_run_id"], "resolve_revision")["revision"] == pushed
    reused = system.airflow.result("build_dataset", build["dag_run_id"], "chip")["reused"]
    assert reused, "a training parameter must not cut chips anew"
    run = asked(system, trainings)
    see_pictures(page, system, run)
    system.airflow.respond("train_model", run, "approve", "Reject")
    training = wait_for_run(system, "train_model", trainings)
    released = system.airflow.result("train_model", training["dag_run_id"], "resolve_revision")["revision"]
    assert f"Swath-Source: {pushed}" in system.git("show", "-s", "--format=%B", released)
    assert not system.airflow.result("train_model", training["dag_run_id"], "train")["reused"]
    gate = system.airflow.result("train_model", training["dag_run_id"], "gate")
    client = mlflow.MlflowClient(tracking_uri=system.services.mlflow)
    assert gate["verdict"] == "promote"
    assert client.get_model_version("sample", gate["challenger"]).tags["swath.rejecter"] == system.services.user
    assert client.get_model_version_by_alias("sample", "champion").version == gate["champion"]


def test_a_ci_server_that_tells_of_a_push_starts_a_build_at_its_commit_which_reuses_what_is_built(
    system: System, chain: dict[str, DagResult]
) -> None:
    builds, commit = known(system, "build_dataset"), system.git("rev-parse", "HEAD")
    where = {"AIRFLOW_URL": system.services.airflow, "AIRFLOW_USER": system.services.user}
    where |= {"AIRFLOW_PASSWORD": system.services.password, "NO_PROXY": "*", "PATH": os.environ["PATH"]}
    hook = [sys.executable, str(ROOT / "deploy" / "push_hook.py")]
    push = f"{system.git('rev-parse', 'HEAD~1')} {commit} refs/heads/main\n"
    told = subprocess.run(hook, cwd=system.checkout, env=where, input=push, capture_output=True, text=True, check=True)
    assert commit in told.stdout
    build = wait_for_run(system, "build_dataset", builds)
    assert build["run_type"] == "asset_triggered"
    run = build["dag_run_id"]
    assert system.airflow.result("build_dataset", run, "resolve_revision")["revision"] == commit
    results = [
        system.airflow.result("build_dataset", run, t["task_id"]) for t in system.airflow.tasks("build_dataset", run)
    ]
    stages = [result for result in results if "stage" in result]
    assert len(stages) == 6 and all(stage["reused"] for stage in stages)
    assert not system.airflow.result("build_dataset", run, "version_and_push")["changed"]


def test_a_run_that_was_cut_off_is_ended_and_the_next_one_does_not_wait_for_it(
    system: System, chain: dict[str, DagResult]
) -> None:
    cut = system.airflow.trigger("ingest_scenes", {})
    queued = system.airflow.trigger("ingest_scenes", {})
    deadline = time.monotonic() + 60
    while not any(task["state"] == "running" for task in system.airflow.tasks("ingest_scenes", cut)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert system.airflow.end_open_runs(["ingest_scenes"]) == 2
    assert {system.airflow.run("ingest_scenes", run)["state"] for run in (cut, queued)} == {"failed"}
    earlier = known(system, "ingest_scenes")
    system.airflow.trigger("ingest_scenes", {})
    again = wait_for_run(system, "ingest_scenes", earlier)
    assert system.airflow.result("ingest_scenes", again["dag_run_id"], "publish")["published"] == 0
    assert system.airflow.run("ingest_scenes", cut)["state"] == "failed"


def test_upkeep_prunes_the_history_and_keeps_what_is_young(system: System, chain: dict[str, DagResult]) -> None:
    before = known(system, "train_model")
    system.airflow.unpause("maintain")
    run = system.airflow.trigger("maintain", {})
    assert wait_for_run(system, "maintain", known(system, "maintain") - {run})["dag_run_id"] == run
    states = {task["task_id"]: task["state"] for task in system.airflow.tasks("maintain", run)}
    assert states == {"orphans": "success", "metadata": "success"}
    assert known(system, "train_model") >= before
