"""The few calls of Airflow's REST API that running a chain needs."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import quote

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from pipelines.errors import SwathError
from pipelines.local.services import Services


class Airflow:
    """A logged-in client of the public API, version 2."""

    def __init__(self, services: Services, patience: float = 60) -> None:
        """Failing connections are tried again for ``patience`` seconds."""
        self.address = services.airflow
        self._retrying = Retrying(
            retry=retry_if_exception_type(httpx.TransportError),
            wait=wait_exponential(0.2, max=5),
            stop=stop_after_delay(patience),
            reraise=True,
        )
        # the server closes a connection that was idle for 5 s; one that is about to be closed must not be used again
        limits = httpx.Limits(keepalive_expiry=2)
        self._client = httpx.Client(base_url=services.airflow, timeout=30, trust_env=False, limits=limits)
        token = self._call("POST", "/auth/token", json={"username": services.user, "password": services.password})
        self._client.headers["Authorization"] = f"Bearer {token['access_token']}"

    def wait_for_dags(self, dags: list[str], limit: float = 120) -> None:
        """Return when all ``dags`` are parsed. Raises ``SwathError`` with Airflow's words if one is broken."""
        deadline = time.monotonic() + limit
        while True:
            known = {dag["dag_id"] for dag in self._call("GET", "/api/v2/dags?limit=100")["dags"]}
            if known >= set(dags):
                return
            for file, trace in self.import_errors().items():
                raise SwathError(f"{file} cannot be imported: {trace[-800:]}")
            if time.monotonic() > deadline:
                raise SwathError(
                    f"Airflow does not know {sorted(set(dags) - known)} yet; read var/logs/dag-processor.log."
                )
            time.sleep(0.5)

    def import_errors(self) -> dict[str, str]:
        """Files of DAGs that cannot be imported, with the stack trace of each."""
        found = self._call("GET", "/api/v2/importErrors?limit=100")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def pools(self) -> dict[str, int]:
        """The slots of each pool."""
        return {pool["name"]: pool["slots"] for pool in self._call("GET", "/api/v2/pools?limit=100")["pools"]}

    def unpause(self, dag: str) -> None:
        self._call("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": False})

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run by hand; returns its id, which is ours, so that asking again starts nothing twice."""
        run = f"manual__{uuid.uuid4()}"
        path = f"/api/v2/dags/{dag}/dagRuns"
        answer = self._send("POST", path, json={"dag_run_id": run, "logical_date": None, "conf": conf})
        if answer.status_code != 409:
            _checked(answer)
        return run

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The newest runs of a DAG, newest first."""
        return list(self._call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=20&order_by=-run_after")["dag_runs"])

    def run(self, dag: str, run: str) -> dict[str, Any]:
        return self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{_quoted(run)}")

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """The task instances of a run, mapped ones each."""
        path, found = f"/api/v2/dags/{dag}/dagRuns/{_quoted(run)}/taskInstances", list[dict[str, Any]]()
        while True:  # a page holds no more than Airflow's [api] maximum_page_limit, whatever is asked for
            page = self._call("GET", f"{path}?limit=100&offset={len(found)}&order_by=id")
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def cause(self, dag: str, run: str) -> set[str] | None:
        """The runs whose asset events started a run; ``None`` where Airflow cannot tell yet.

        Airflow 3.3.2 fails to tell as long as one of the runs that the same events started is queued.
        """
        answer = self._send("GET", f"/api/v2/dags/{dag}/dagRuns/{_quoted(run)}/upstreamAssetEvents")
        if answer.status_code != 200:
            return None
        return {event["source_run_id"] for event in answer.json()["asset_events"]}

    def end_open_runs(self, dags: list[str]) -> int:
        """Fail the runs that are queued or at work; returns how many there were."""
        # of all DAGs at once: asked for one that is not parsed yet, the API answers 404
        path = "/api/v2/dags/~/dagRuns?state=queued&state=running&limit=100"
        open_runs = [run for run in self._call("GET", path)["dag_runs"] if run["dag_id"] in dags]
        for run in open_runs:
            path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{_quoted(run['dag_run_id'])}"
            self._call("PATCH", path, json={"state": "failed", "note": "Ended by `swath run`: it was cut off."})
        return len(open_runs)

    def result(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """What a task returned; empty if it returned nothing."""
        path = (
            f"/api/v2/dags/{dag}/dagRuns/{_quoted(run)}/taskInstances/{task}/xcomEntries/return_value?deserialize=false"
        )
        answer = self._send("GET", path)
        value = answer.json().get("value") if answer.status_code == 200 else None
        return value if isinstance(value, dict) else {}

    def respond(self, dag: str, run: str, task: str, option: str) -> None:
        """Answer a task that waits for a person."""
        path = f"/api/v2/dags/{dag}/dagRuns/{_quoted(run)}/taskInstances/{task}/-1/hitlDetails"
        answer = self._send("PATCH", path, json={"chosen_options": [option], "params_input": {}})
        if answer.status_code != 409:  # it was answered already, perhaps by us on a connection that broke
            _checked(answer)

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        return dict(_checked(self._send(method, path, **kwargs)).json())

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Ask, and ask again while the connection fails: every call here may safely be repeated."""
        try:
            return self._retrying(self._client.request, method, path, **kwargs)
        except httpx.TransportError as error:
            raise SwathError(
                f"Airflow at {self.address} does not answer {method} {path} any more ({error}); "
                "read var/logs/api-server.log."
            ) from error


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        asked = f"{answer.request.method} {answer.request.url.path}"
        raise SwathError(f"Airflow answered {answer.status_code} to {asked}: {answer.text[:500]}")
    return answer


def _quoted(run: str) -> str:
    return quote(run, safe="")
