"""The client against a server on loopback that resets connections as a restarting or idle one does."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest

from pipelines.errors import SwathError
from pipelines.local.airflow_api import Airflow
from pipelines.local.services import Services


class Flaky(BaseHTTPRequestHandler):
    """Resets every second request, either before it took effect or after."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    runs: ClassVar[list[str]] = []
    after: ClassVar[bool] = False
    tasks: ClassVar[int] = 250

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if self._reset():
            return
        if asked.path.endswith("/taskInstances"):
            page = {name: int(value) for name, value in parse_qsl(asked.query) if name in ("limit", "offset")}
            all_of_them = [{"task_id": "fetch", "map_index": index} for index in range(self.tasks)]
            some = all_of_them[page.get("offset", 0) :][: min(page["limit"], 100)]
            self._answer(200, {"task_instances": some, "total_entries": self.tasks})
        else:
            self._answer(200, {"dag_runs": [{"dag_run_id": run} for run in self.runs]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/auth/token":
            self._answer(200, {"access_token": "token"})
            return
        if self.after or len(self.asked) % 2:
            known = body["dag_run_id"] in self.runs
            self.runs.extend([] if known else [body["dag_run_id"]])
        else:
            known = False
        if not self._reset():
            self._answer(409 if known else 200, body)

    def _reset(self) -> bool:
        self.asked.append(self.path)
        if len(self.asked) % 2 == 0:
            return False
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        return True

    def _answer(self, status: int, what: dict[str, object]) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Flaky.asked, Flaky.runs, Flaky.after = [], [], False
    with ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def client(server: ThreadingHTTPServer, patience: float = 60) -> Airflow:
    address = f"http://127.0.0.1:{server.server_address[1]}"
    return Airflow(
        Services(instance="i", airflow=address, mlflow="", user="admin", password="secret", booted=0.0), patience
    )


def test_a_reset_connection_is_asked_again(server: ThreadingHTTPServer) -> None:
    assert client(server).runs("train_model") == []
    assert len(Flaky.asked) == 2


@pytest.mark.parametrize("after", [False, True])
def test_a_run_is_started_once_whenever_the_connection_breaks(server: ThreadingHTTPServer, after: bool) -> None:
    Flaky.after = after
    assert [client(server).trigger("train_model", {})] == Flaky.runs
    assert len(Flaky.asked) == 2


def test_all_tasks_of_a_run_are_told_though_a_page_holds_a_hundred(server: ThreadingHTTPServer) -> None:
    found = client(server).tasks("ingest_scenes", "manual__1")
    assert [task["map_index"] for task in found] == list(range(Flaky.tasks))


def test_a_server_that_is_gone_is_named(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = client(server, patience=0.5)
    monkeypatch.setattr(Flaky, "_reset", lambda self: not self.connection.shutdown(socket.SHUT_RDWR))
    with pytest.raises(SwathError, match=r"does not answer GET .*api-server\.log"):
        airflow.runs("train_model")
