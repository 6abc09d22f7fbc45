"""MLflow and Airflow as servers on loopback that answer in their words, well and not, and dead addresses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.doctor.services import airflow, dags, installed, mlflow
from pipelines.files import write_secret
from pipelines.local.services import Services
from tests.doctor.conftest import only

DEAD = "http://127.0.0.1:9"


class Answers(BaseHTTPRequestHandler):
    """Whatever ``server.says`` has for the path: JSON, or text as it is."""

    def do_GET(self) -> None:
        self._say(self.server.says.get(self.path.split("?")[0]))  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._say({"access_token": "t"} if asked == {"username": "admin", "password": "right"} else None)

    def _say(self, what: Any) -> None:
        body = (what if isinstance(what, str) else json.dumps(what)).encode()
        self.send_response(404 if what is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.says = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}", made.says  # type: ignore[attr-defined]
    made.shutdown()
    made.server_close()
    thread.join()


def services(address: str, password: str = "right") -> Services:
    return Services(
        instance="feed", airflow=address, mlflow=address, user="admin", password=password, booted=psutil.boot_time()
    )


def test_mlflow_answers_and_is_of_the_version_that_is_installed(server: tuple[str, dict[str, Any]]) -> None:
    address, says = server
    says["/version"] = version("mlflow")
    only(mlflow(address), "fine")
    says["/version"] = "1.0.0"
    assert "1.0.0" in only(mlflow(address), "warning").what
    del says["/version"]
    only(mlflow(address), "fault")
    only(mlflow(DEAD), "fault")
    only(mlflow("sqlite:////tmp/mlflow.db"), "skipped")


def test_each_part_of_airflow_that_gives_no_sign_is_named(server: tuple[str, dict[str, Any]]) -> None:
    address, says = server
    parts = {part: {"status": "healthy"} for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")}
    says["/api/v2/monitor/health"] = parts
    only(airflow(services(address)), "fine")
    parts["triggerer"] = {"status": None}
    parts["dag_processor"] = {"status": "unhealthy"}
    first, second = airflow(services(address))
    assert "triggerer is not running" in first.what and "dag-processor is unhealthy" in second.what
    only(airflow(services(DEAD)), "fault")
    only(airflow(None), "skipped")


def test_dags_that_cannot_be_imported_and_pools_without_slots(server: tuple[str, dict[str, Any]]) -> None:
    address, says = server
    says["/api/v2/importErrors"] = {"import_errors": []}
    says["/api/v2/pools"] = {"pools": [{"name": "gpu", "slots": 1}, {"name": "io", "slots": 4}]}
    only(dags(services(address)), "fine")
    says["/api/v2/importErrors"] = {
        "import_errors": [{"filename": "dags/own.py", "stack_trace": "Traceback\n  line\nNameError: name 'x'\n"}]
    }
    says["/api/v2/pools"] = {"pools": [{"name": "gpu", "slots": 0}]}
    broken, slots, none = (found.what for found in dags(services(address)))
    assert broken == "dags/own.py cannot be imported: NameError: name 'x'"
    assert "gpu has no slots" in slots and none == "No pool io."
    only(dags(services(address, "wrong")), "fault")
    only(dags(services(address, "")), "skipped")
    only(dags(None), "skipped")


def test_airflow_is_where_make_up_recorded_it_or_compose_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.delenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", raising=False)
    assert installed() is None
    write_secret(tmp_path / "passwords.json", {"admin": "right"})
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://api-server:8080/execution/")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(tmp_path / "passwords.json"))
    found = installed()
    assert found and (found.airflow, found.user, found.password) == ("http://api-server:8080", "admin", "right")
    write_secret(tmp_path / "services.json", services(DEAD).model_dump())
    assert installed() == services(DEAD)
