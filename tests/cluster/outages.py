"""Services of the cluster that are killed, or away for a minute, while the chain runs."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx

from pipelines.local.airflow_api import Airflow
from pipelines.local.chain import TaskState
from pipelines.local.services import Services
from tests.cluster.cluster import Cluster

_ASKED = "OUTAGES"  # the variable that asks for them
_PATIENCE = 240.0  # seconds that a server may be away, or lack its database


@dataclass(frozen=True)
class Outage:
    """``service`` is killed as ``task`` begins, and started after ``seconds`` with nothing but its named volumes."""

    service: str
    task: str
    seconds: float = 5


OUTAGES = (
    Outage("worker-io", "ingest_scenes.fetch"),
    Outage("s3", "ingest_scenes.validate", 60),
    Outage("postgres", "build_dataset.snapshot"),
    Outage("redis", "build_dataset.chip"),
    Outage("dag-processor", "build_dataset.statistics"),
    Outage("worker-cpu", "train_model.train", 10),
    Outage("mlflow", "train_model.evaluate", 60),
    Outage("scheduler", "train_model.package"),
    Outage("api-server", "train_model.gate"),
    Outage("worker-cpu", "predict_scenes.predict", 10),
    Outage("s3", "predict_scenes.publish", 60),
    Outage("triggerer", "monitor_drift.profile"),
)


def outages_wanted() -> bool:
    return bool(os.environ.get(_ASKED))


class Outages:
    """Strikes each of ``OUTAGES`` once, at the first look that sees its task at work. What ends by itself meanwhile, as
    Airflow's services do without their database, is started again, as an engine does that is told to."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._left = list(OUTAGES)
        self._threads: list[threading.Thread] = []
        self._away: set[str] = set()
        self._over = threading.Event()
        self._engine = threading.Thread(target=self._restart)
        self._engine.start()

    def watch(self, tasks: list[TaskState]) -> None:
        """Look at the tasks of a run, as ``run_chain`` tells of them."""
        working = {f"{task.dag}.{task.task}" for task in tasks if task.state == "running"}
        for outage in [one for one in self._left if one.task in working]:
            self._left.remove(outage)
            self._threads.append(threading.Thread(target=self._strike, args=(outage,)))
            self._threads[-1].start()

    def end(self) -> list[Outage]:
        """Wait until all are over; returns those whose task was never seen at work."""
        for thread in self._threads:
            thread.join()
        self._over.set()
        self._engine.join()
        return self._left

    def _strike(self, outage: Outage) -> None:
        container = self._cluster.services[outage.service]
        self._away.add(outage.service)
        container.kill()
        print(f"{outage.service} killed during {outage.task}, away for {outage.seconds:.0f} s", flush=True)
        time.sleep(outage.seconds)
        container.start()
        self._away.remove(outage.service)

    def _restart(self) -> None:
        while not self._over.wait(1):
            for name, container in self._cluster.services.items():
                ended = name not in self._away and container.status() is not None
                if ended and container.service.restart == "unless-stopped":
                    print(f"{name} ended with status {container.status()}, started again", flush=True)
                    container.start()


class Patient(Airflow):
    """A client that waits for a server which has lost its database, as a person does who tries again."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, patience=_PATIENCE)

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        deadline = time.monotonic() + _PATIENCE
        while (answer := super()._send(method, path, **kwargs)).status_code >= 500 and time.monotonic() < deadline:
            time.sleep(2)
        return answer
