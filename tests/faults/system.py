"""The embedded system on a world, with services that can be killed and started one by one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Any

import httpx
import psutil

from pipelines.local.airflow_api import Airflow
from pipelines.local.chain import CHAIN
from pipelines.local.services import INSTANCE, environment, start, stop
from tests.faults.tasks import RUN_ID
from tests.faults.world import World

PARTS = ("mlflow", "api-server", "scheduler", "dag-processor", "triggerer")  # in the order in which they are started
DAGS = (*CHAIN, "maintain")  # rollback_model has nothing to go back to in a chain
DONE = ("success", "failed")

# Short, so that an hour holds many faults; each is a setting of Airflow or of Swath that an installation may set too.
_PATIENCE = {
    "SWATH_RETRY_SECONDS": "2",
    "SWATH_GIT_INTERVAL": "30",
    "SWATH_SCHEDULE": "off",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
}


class System:
    """Airflow and MLflow at work. DAGs are paused but for the one that is followed, so that events start nothing."""

    def __init__(self, world: World) -> None:
        os.environ |= _PATIENCE
        self.world = world
        self.services = start(world.checkout, lambda text: None)
        self.sessions = dict(zip(PARTS, self.services.sessions, strict=True))
        self.airflow = Airflow(self.services, patience=120)
        self.airflow.wait_for_dags(list(DAGS), 300)

    def stop(self) -> None:
        for session in self.sessions.values():
            _kill(session)
        stop()

    def kill(self, part: str) -> None:
        """End a service and all its children at once, as a machine that loses its power does."""
        assert _kill(self.sessions[part]), f"no {part} runs"

    def start(self, part: str) -> None:
        mlflow = self.world.home / "mlflow"
        arguments = ["-m", "airflow", part]
        if part == "mlflow":
            place = ["--host", "127.0.0.1", "--port", self.services.mlflow.rsplit(":", 1)[1], "--workers", "1"]
            store = ["--backend-store-uri", f"sqlite:///{mlflow / 'mlflow.db'}", "--no-serve-artifacts"]
            artifacts = ["--default-artifact-root", (mlflow / "artifacts").as_uri()]
            arguments = ["-m", "mlflow", "server", *store, *artifacts, *place]
        with (self.world.home / "logs" / f"{part}.log").open("ab") as out:
            started = subprocess.Popen(
                [sys.executable, *arguments],
                env=environment(self.world.checkout, self.services),
                cwd=self.world.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.sessions[part] = started.pid

    def wait_for(self, address: str, limit: float = 180) -> None:
        deadline = time.monotonic() + limit
        while True:
            try:
                if httpx.get(address, timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.3)

    def reset(self) -> None:
        """Forget all that runs have left, in Airflow, in MLflow and on disk; what runs of Airflow goes on."""
        for dag in DAGS:
            for run in self.airflow.runs(dag):
                self.airflow._send("DELETE", f"/api/v2/dags/{dag}/dagRuns/{run['dag_run_id']}")
        self.kill("mlflow")
        for left in self.world.home.iterdir():
            if left.name not in ("airflow", "logs", "pycache", "sample", "services.json", "services.lock"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        self._forget_versions()
        (self.world.home / "mlflow").mkdir()
        self.start("mlflow")
        self.wait_for(f"{self.services.mlflow}/health")

    def _forget_versions(self) -> None:
        """Leave the checkout the branch that people push to; its files stay where they are, for Airflow reads them."""
        listed = ["git", "for-each-ref", "--format=%(refname)"]
        refs = subprocess.run(listed, cwd=self.world.checkout, capture_output=True, text=True, check=True)
        for ref in refs.stdout.split():
            if ref != "refs/heads/main":
                subprocess.run(["git", "update-ref", "-d", ref], cwd=self.world.checkout, check=True)

    def begin(self, dag: str, revision: str) -> None:
        """Start the one run of ``dag``, while no other may start."""
        for other in DAGS:
            self.airflow._call("PATCH", f"/api/v2/dags/{other}", json={"is_paused": other != dag})
        asked = {"dag_run_id": RUN_ID, "logical_date": None, "conf": {"revision": revision}}
        answer = self.airflow._send("POST", f"/api/v2/dags/{dag}/dagRuns", json=asked)
        assert answer.status_code in (200, 409), answer.text

    def processes(self) -> list[psutil.Process]:
        """Commands of tasks and what they have started: all that has the environment that the operator gives."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(INSTANCE) == self.services.instance and "SWATH_RESULT" in process.environ():
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def instances(tasks: list[dict[str, Any]]) -> list[str]:
    """Names of task instances, of mapped ones with their index."""
    return [task["task_id"] + (f"[{task['map_index']}]" if task["map_index"] >= 0 else "") for task in tasks]


def last_words(world: World, dag: str, task: dict[str, Any]) -> str:
    """The error at the end of a failed task's log."""
    name = f"dag_id={dag}/run_id={RUN_ID}/task_id={task['task_id']}"
    logs = sorted((world.home / "logs" / "tasks" / name).rglob("attempt=*.log"), key=lambda path: path.stat().st_mtime)
    lines = [line for line in logs[-1].read_text().splitlines() if "swath" in line or "error" in line.lower()]
    return lines[-1][-400:] if lines else ""


def _kill(session: int) -> int:
    ours = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                ours.append(process)
        except (OSError, psutil.Error):
            continue
    for process in ours:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(ours, timeout=10)
    return len(ours)
