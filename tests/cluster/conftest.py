"""One small region, mapped by the embedded system and by the cluster, at the same commit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from pipelines.local import services as embedded
from pipelines.local.airflow_api import Airflow
from pipelines.local.chain import DagResult, run_chain
from pipelines.local.services import Services
from tests.checkout import ROOT, SMALL, make_repository
from tests.cluster.cluster import GATEWAY, Cluster
from tests.cluster.compose import TOOL
from tests.cluster.outages import Outages, Patient, outages_wanted
from tests.scenes.servers import file_server

GIT = "git.test"  # a host outside the cluster, as is the provider of the scenes


@dataclass(frozen=True)
class Region:
    """Who is outside either system: the provider of the scenes, and the team's git server with one commit."""

    checkout: Path
    commit: str


@dataclass(frozen=True)
class Finished:
    """A system whose chain has run, and what it made: results of its tasks by DAG, and folders of its own."""

    chain: dict[str, DagResult]
    predictions: Path


@dataclass(frozen=True)
class Production:
    """The running cluster."""

    cluster: Cluster
    services: Services
    airflow: Airflow
    secrets: dict[str, str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session", autouse=True)
def namespaces() -> None:
    if TOOL not in os.environ:
        pytest.skip("started by `make cluster-test`, in namespaces of its own")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cluster")
    for path in (made, *made.parents):
        if path.stat().st_uid == os.getuid():  # pytest's own are closed to others, and users of services must come in
            path.chmod(path.stat().st_mode | 0o111)
    return made


@pytest.fixture(scope="session")
def env_file(folder: Path) -> Path:
    """As `make secrets` makes it, with what a person adds."""
    secrets = subprocess.run(["sh", ROOT / "docker" / "secrets"], capture_output=True, text=True, check=True).stdout
    lines = [f"SWATH_GIT_REMOTE=git://{GIT}/region.git", "SWATH_CPU_TASKS=2", "SWATH_IO_TASKS=2", "SWATH_SCHEDULE=off"]
    path = folder / ".env"
    path.write_text("\n".join([secrets, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def region(folder: Path, cluster: Cluster) -> Iterator[Region]:
    sample, checkout, bare = folder / "sample", folder / "checkout", folder / "git" / "region.git"
    subprocess.run(
        [sys.executable, "-m", "pipelines", "sample", "--out", sample, "--size", "512", "--scenes", "4"],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    make_repository(checkout)
    (checkout / "labels" / "sample.gpkg").write_bytes((sample / "labels.gpkg").read_bytes())
    params = yaml.safe_load((checkout / "params.yaml").read_text())
    for section, values in SMALL.items():
        params[section] |= values
    params["scenes"]["source"] = f"http://{GATEWAY}:8000/catalog.json"
    params["labels"]["source"] = "labels/sample.gpkg"
    (checkout / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for words in (["add", "--all", "--force", "labels"], ["commit", "--quiet", "--all", "--message", "A small region"]):
        subprocess.run(["git", *words], cwd=checkout, check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", checkout, bare], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    daemon = ["git", "daemon", f"--base-path={bare.parent}", "--export-all", "--enable=receive-pack"]
    with file_server(sample, GATEWAY, 8000), subprocess.Popen([*daemon, f"--listen={GATEWAY}"]) as served:
        yield Region(checkout, commit.stdout.strip())
        served.terminate()


@pytest.fixture(scope="session")
def embedded_run(folder: Path, region: Region) -> Finished:
    """The same chain by `make run`'s system, which is stopped afterwards."""
    home = folder / "embedded"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SWATH_", "MLFLOW_", "AIRFLOW"))]:
            patch.delenv(name)
        patch.setenv("SWATH_HOME", str(home))
        patch.setenv("SWATH_GIT_REMOTE", str(region.checkout))
        patch.setenv("SWATH_SCHEDULE", "off")
        try:
            airflow = Airflow(embedded.start(region.checkout, print))
            with told("embedded chain"):
                chain = {result.dag: result for result in run_chain(airflow, region.commit, lambda tasks: None)}
        finally:
            embedded.stop()
    return Finished(chain, home / "predictions" / "sample")


@pytest.fixture(scope="session")
def cluster(folder: Path, env_file: Path) -> Cluster:
    return Cluster(folder / "compose", env_file, outside=(GIT,))


@pytest.fixture(scope="session")
def production(cluster: Cluster, env_file: Path, region: Region) -> Iterator[Production]:
    secrets = dict(line.split("=", 1) for line in env_file.read_text().splitlines() if "=" in line and line[0] != "#")
    try:
        with told("start of the cluster"):
            cluster.up()
        services = Services(
            instance="cluster",
            airflow="http://127.0.0.1:8080",
            mlflow="http://127.0.0.1:5000",
            user="admin",
            password=secrets["SWATH_ADMIN_PASSWORD"],
            booted=psutil.boot_time(),
        )
        yield Production(cluster, services, Airflow(services), secrets)
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def cluster_run(folder: Path, production: Production, region: Region) -> Finished:
    outages = Outages(production.cluster) if outages_wanted() else None
    airflow, watch = (Patient(production.services), outages.watch) if outages else (production.airflow, lambda _: None)
    with told("chain on the cluster"):
        try:
            chain = {result.dag: result for result in run_chain(airflow, region.commit, watch)}
        except Exception:
            for name, container in production.cluster.services.items():
                print(f"== {name}\n{container.tail()}")
            raise
        finally:
            left = outages.end() if outages else []
    assert not left, f"some services were never struck: {left}"
    return Finished(chain, _predictions(production.cluster, folder / "brought") / "sample")


def _predictions(cluster: Cluster, folder: Path) -> Path:
    """The maps: from the store that workers send them to, or from the volume that they share."""
    worker = cluster.services["worker-cpu"]
    if address := worker.service.environment.get("SWATH_STORE"):
        store, bucket = cluster.store(), address.removeprefix("s3://")
        for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="predictions/"):
            for key in (found["Key"] for found in page.get("Contents", [])):
                (folder / key).parent.mkdir(parents=True, exist_ok=True)
                store.download_file(bucket, key, str(folder / key))
        return folder / "predictions"
    place = Path(worker.service.environment["SWATH_PREDICTIONS"])
    volume = next(mount for mount in worker.service.volumes if mount.source and place.is_relative_to(mount.target))
    return cluster.volumes / str(volume.source) / place.relative_to(volume.target)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Print what it took on the wall and on the processors."""
    begun, busy = time.monotonic(), _processor_seconds()
    yield
    print(f"{what}: {time.monotonic() - begun:.0f} s, {_processor_seconds() - busy:.0f} s of processor time")


def _processor_seconds() -> float:
    """Of all processes that there are, and of those that have ended, whose parents have it."""
    return sum(sum(process.cpu_times()[:4]) for process in psutil.process_iter())
