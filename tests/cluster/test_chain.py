"""The chain on docker-compose.yml's services gives what it gives on a laptop, and keeps its secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import mlflow
import numpy as np
import psutil
import pytest
import rasterio

from pipelines.local.airflow_api import Airflow
from pipelines.local.chain import run_chain
from tests.cluster.conftest import Finished, Production, Region
from tests.e2e.runs import known, wait_for_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def rasters(predictions: Path) -> dict[str, Path]:
    return {str(path.relative_to(predictions)): path for path in sorted(predictions.glob("v1/*/*.tif"))}


def test_the_dataset_has_the_same_hash(embedded_run: Finished, cluster_run: Finished) -> None:
    ours, theirs = (run.chain["build_dataset"].results["version_and_push"] for run in (cluster_run, embedded_run))
    assert ours["tag"] == theirs["tag"] == "dataset/sample/v1"
    assert ours["dataset"] == theirs["dataset"]


def test_the_gate_decides_the_same_for_the_same_reasons(embedded_run: Finished, cluster_run: Finished) -> None:
    ours, theirs = (run.chain["train_model"].results["gate"] for run in (cluster_run, embedded_run))
    assert (ours["verdict"], ours["reasons"]) == (theirs["verdict"], theirs["reasons"])
    scores, others = (run.chain["train_model"].results["evaluate"]["summary"] for run in (cluster_run, embedded_run))
    assert scores["miou"] == others["miou"]


def test_the_maps_are_the_same_pixel_for_pixel(embedded_run: Finished, cluster_run: Finished) -> None:
    ours, theirs = rasters(cluster_run.predictions), rasters(embedded_run.predictions)
    assert ours.keys() == theirs.keys() and len(ours) == 10  # classes and confidence of five scenes
    for name, path in ours.items():
        with rasterio.open(path) as one, rasterio.open(theirs[name]) as other:
            assert (one.transform, one.crs, one.dtypes) == (other.transform, other.crs, other.dtypes)
            np.testing.assert_array_equal(one.read(), other.read(), err_msg=name)


def test_drift_is_judged_the_same(embedded_run: Finished, cluster_run: Finished) -> None:
    ours, theirs = (run.chain["monitor_drift"].results["decide"] for run in (cluster_run, embedded_run))
    assert (ours["verdict"], ours["sentence"]) == (theirs["verdict"], theirs["sentence"])


def test_each_task_ran_on_the_worker_of_its_queue(production: Production, cluster_run: Finished) -> None:
    tasks = [task for dag, r in cluster_run.chain.items() for task in production.airflow.tasks(dag, r.run)]
    ran = {(task["queue"], task["hostname"]) for task in tasks if task["hostname"]}
    assert ran == {
        ("io", "swath-worker-io-1"),
        ("default", "swath-worker-cpu-1"),
        ("gpu", "swath-worker-cpu-1"),
    }


def test_the_page_shows_what_the_workers_made(production: Production, cluster_run: Finished) -> None:
    page = f"{production.services.airflow}/swath/p/sample"
    login = {"Authorization": production.airflow._client.headers["Authorization"]}
    with httpx.Client(timeout=60, trust_env=False) as client:
        assert client.get(f"{page}/layers.json").status_code == 401
        for part in ("scenes", "data", "models", "drift"):
            assert client.get(f"{page}/{part}", headers=login).status_code == 200, part
        scenes = client.get(f"{page}/layers.json", headers=login).json()["scenes"]
    mapped = {path.parent.name for path in rasters(cluster_run.predictions).values()}
    assert {scene["id"] for scene in scenes if scene["versions"]} == mapped


def test_the_log_of_a_task_is_kept_when_its_worker_has_let_go_of_it(
    production: Production, cluster_run: Finished
) -> None:
    run = cluster_run.chain["train_model"].run
    (last,) = (
        task["try_number"] for task in production.airflow.tasks("train_model", run) if task["task_id"] == "train"
    )
    place = f"/api/v2/dags/train_model/dagRuns/{quote(run, safe='')}/taskInstances/train/logs/{last}"
    log = production.airflow._call("GET", place)
    assert "swath stage train" in str(log["content"])
    assert not list(production.cluster.folder.glob("worker-*/**/dag_id=train_model/**/*.log"))


def left_behind(production: Production) -> Iterator[tuple[str, bytes]]:
    """What an outsider may come to read one day, by name: logs, databases, artifacts, messages, process arguments."""
    cluster = production.cluster
    for path in [*cluster.folder.rglob("*.log"), *cluster.volumes.glob("redis/**/*")]:
        if path.is_file():
            yield str(path.relative_to(cluster.folder)), path.read_bytes()
    dump = cluster.services["postgres"].run(["pg_dumpall", "--username=swath", "--no-role-passwords"], timeout=120)
    assert dump.returncode == 0, dump.stderr
    yield "databases", dump.stdout.encode()
    store = cluster.store()
    for bucket in (found["Name"] for found in store.list_buckets()["Buckets"]):
        for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", []):
                body = store.get_object(Bucket=bucket, Key=found["Key"])["Body"]
                yield f"s3://{bucket}/{found['Key']}", body.read()
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    yield "arguments", "\n".join(lines).encode()


def test_no_secret_is_left_in_a_log_a_database_an_artifact_or_a_command_line(
    production: Production, cluster_run: Finished
) -> None:
    secrets = {
        name: value.encode()
        for name, value in production.secrets.items()
        if any(word in name for word in ("PASSWORD", "SECRET", "KEY"))
    }
    assert len(secrets) == 10
    looked = dict(left_behind(production))
    # the places are those where it would be: the results of tasks, their logs, the models, the broker's messages
    assert cluster_run.chain["build_dataset"].results["version_and_push"]["dataset"].encode() in looked["databases"]
    assert any("logs/dag_id=train_model" in name for name in looked) and any("redis/" in name for name in looked)
    assert any(name.startswith("s3://mlflow/") and name.endswith("/MLmodel") for name in looked)
    assert b"airflow celery worker" in looked["arguments"]
    assert [(name, place) for place, text in looked.items() for name, secret in secrets.items() if secret in text] == []


@pytest.mark.parametrize(
    ("user", "database", "question", "answer"),
    [
        ("worker", "airflow", "SELECT 'read all ' || (count(*) > 10) FROM celery_taskmeta", "read all true"),
        ("worker", "airflow", "SELECT * FROM connection", "permission denied for table connection"),
        ("worker", "airflow", "DELETE FROM dag_run", "permission denied for table dag_run"),
        ("worker", "airflow", "CREATE TABLE own (id int)", "permission denied for schema public"),
        ("worker", "mlflow", "SELECT 1", "permission denied for database"),
        ("airflow", "mlflow", "SELECT 1", "permission denied for database"),
        ("mlflow", "airflow", "SELECT 1", "permission denied for database"),
        ("mlflow", "mlflow", "SELECT pg_read_file('/etc/passwd')", "permission denied for function"),
    ],
)
def test_each_part_reaches_its_own_ground_in_the_database_and_no_more(
    production: Production, cluster_run: Finished, user: str, database: str, question: str, answer: str
) -> None:
    psql = ["psql", f"--username={user}", f"--dbname={database}", "--tuples-only", f"--command={question}"]
    said = production.cluster.services["postgres"].run(psql, timeout=60)
    assert answer in said.stdout + said.stderr


def test_upkeep_prunes_the_history_of_the_database(production: Production, cluster_run: Finished) -> None:
    production.airflow.unpause("maintain")
    run = production.airflow.trigger("maintain", {})
    wait_for_run(production, "maintain", known(production, "maintain") - {run})
    states = {task["task_id"]: task["state"] for task in production.airflow.tasks("maintain", run)}
    assert states == {"orphans": "success", "metadata": "success"}


def test_nothing_is_lost_when_all_services_are_stopped_and_started_again(
    production: Production, cluster_run: Finished, region: Region
) -> None:
    production.cluster.down()
    assert all(container.status() is not None for container in production.cluster.services.values())
    production.cluster.up()  # and with it once more the setup
    airflow = Airflow(production.services)
    for dag, result in cluster_run.chain.items():
        assert airflow.run(dag, result.run)["state"] == "success"
    champion = mlflow.MlflowClient(production.services.mlflow).get_model_version_by_alias("sample", "champion")
    assert champion.version == cluster_run.chain["train_model"].results["gate"]["challenger"]
    again = {result.dag: result.results for result in run_chain(airflow, region.commit, lambda tasks: None)}
    assert again["ingest_scenes"]["publish"]["published"] == 0
    assert not again["build_dataset"]["version_and_push"]["changed"]
    assert again["train_model"]["train"]["reused"]
