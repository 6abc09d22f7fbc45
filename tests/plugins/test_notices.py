"""What people are told reaches the page and the notifiers of the installation, whatever these do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins import notices

HTTP = "airflow.providers.http.notifications.HttpNotifier"


class Chat:
    """A webhook on loopback that remembers what it is sent."""

    def __init__(self) -> None:
        heard = self.heard = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Chat]:
    made = Chat()
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", f"http://127.0.0.1:{made.server.server_port}")
    yield made
    made.server.shutdown()


def sent_to_chat(**more: Any) -> str:
    message = {"text": "{{ notice.title }} | {{ notice.why }} | {{ notice.kind }}"}
    return json.dumps([{"notifier": HTTP, "http_conn_id": "chat", "json": message} | more])


def failed(why: str = "disk full", shard: int = -1) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="train_model", task_id="train", run_id="manual__1", map_index=shard)
    return {"ti": ti, "exception": RuntimeError(why)}


def kept(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (tmp_path / "notices").glob("*.json")]


def test_a_failure_is_kept_for_the_page_and_sent_to_the_webhook(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(notices.NOTIFIERS, sent_to_chat())
    notices.tell_failure(failed())
    assert chat.heard == [{"text": "train_model.train failed | disk full | failure"}]
    assert [(one["kind"], one["dag"], one["task"], one["why"]) for one in kept(tmp_path)] == [
        ("failure", "train_model", "train", "disk full")
    ]


def test_each_shard_that_failed_is_told_of_by_itself(chat: Chat, tmp_path: Path) -> None:
    for shard, why in ((0, "disk full"), (1, "no route"), (1, "no route")):
        notices.tell_failure(failed(why, shard))
    assert sorted(one["why"] for one in kept(tmp_path)) == ["disk full", "no route"]


def test_a_notifier_hears_of_its_kinds_alone(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notices.NOTIFIERS, sent_to_chat(kinds=["late"]))
    notices.tell_failure(failed())
    run = {"dag_run": {"dag_id": "ingest_scenes", "dag_run_id": "scheduled__2"}}
    asyncio.run(notices.tell_late(context=run))
    assert [one["text"].split(" | ")[0] for one in chat.heard] == ["ingest_scenes is late"]
    assert "scheduled__2" in chat.heard[0]["text"]


def test_the_same_failure_told_again_is_kept_once_with_its_newest_reason(chat: Chat, tmp_path: Path) -> None:
    notices.tell_failure(failed("first"))
    notices.tell_failure(failed("second"))
    assert [one["why"] for one in kept(tmp_path)] == ["second"]


def test_a_notifier_that_cannot_be_made_silences_no_other(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    good = json.loads(sent_to_chat())
    monkeypatch.setenv(notices.NOTIFIERS, json.dumps([{"notifier": HTTP, "wrong": 1}, *good]))
    notices.tell_failure(failed())
    assert len(chat.heard) == 1


def test_a_page_that_cannot_be_written_keeps_no_notifier_from_telling(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notices").write_text("a file where the folder should be")
    monkeypatch.setenv(notices.NOTIFIERS, sent_to_chat())
    notices.tell_failure(failed())
    assert len(chat.heard) == 1


@pytest.mark.parametrize(
    "broken",
    [
        "not JSON",
        '[{"notifier": "no.such.Notifier"}]',
        '[{"http_conn_id": "chat"}]',
        json.dumps([{"notifier": HTTP, "http_conn_id": "unknown", "json": {}}]),
    ],
)
def test_notifiers_that_fail_lose_no_notice_and_raise_nothing(
    broken: str, chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(notices.NOTIFIERS, broken)
    notices.tell_failure(failed())
    assert len(kept(tmp_path)) == 1
    assert any(record.message.endswith("the form of SWATH_NOTIFIERS") for record in caplog.records)


def test_a_pending_approval_and_a_drift_are_told(chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notices.NOTIFIERS, sent_to_chat())
    said = {"project": "sample", "sentence": "Drift in summer-21S."}
    ti = SimpleNamespace(
        dag_id="monitor_drift", task_id="decide", run_id="r", map_index=-1, xcom_pull=lambda task_ids: said
    )
    notices.tell_drift({"ti": ti})
    asked = SimpleNamespace(subject="Promote version 3?", body="It is better.")
    waiting = SimpleNamespace(dag_id="train_model", task_id="approve", run_id="r", map_index=-1)
    notices.ApprovalNotifier()({"ti": waiting, "task": asked})
    assert [one["text"] for one in chat.heard] == [
        "Drift in sample | Drift in summer-21S. | drift",
        "Promote version 3? | It is better. | approval",
    ]
    assert {one["kind"] for one in kept(tmp_path)} == {"drift", "approval"}


@pytest.mark.parametrize("part", [{"run": "another"}, {"dag": "d2"}, {"task": "t2"}, {"shard": 2}, {"kind": "late"}])
def test_what_is_told_of_something_else_takes_the_place_of_nothing(part: dict[str, Any]) -> None:
    told = notices.Notice(kind="failure", title="d.t failed", why="x", dag="d", run="r", task="t", when="2026-01-01")
    assert told.model_copy(update={"why": "y", "when": "2026-01-02"}).key == told.key
    assert told.model_copy(update=part).key != told.key
