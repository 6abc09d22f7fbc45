from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from plugins.approval import NOBODY, GateApproval


def operator() -> GateApproval:
    return GateApproval(task_id="approve", gate="gate", subject="Promote?", dag=DAG("demo", schedule=None))


def context(**verdict: Any) -> dict[str, Any]:
    ti = SimpleNamespace(
        xcom_pull=lambda task_ids: verdict, dag_id="train_model", task_id="approve", run_id="r", map_index=-1
    )
    return {"ti": ti, "task_instance": SimpleNamespace(id="1"), "task": operator()}


def test_silence_rejects() -> None:
    assert operator().defaults == ["Reject"]


@pytest.mark.parametrize(
    "verdict", [{"verdict": "refuse", "approval": True}, {"verdict": "promote", "approval": False}]
)
def test_nobody_is_asked_where_there_is_nothing_to_approve(verdict: dict[str, Any]) -> None:
    with pytest.raises(AirflowSkipException):
        operator().execute(context(**verdict))


def test_a_person_has_the_hours_of_the_parameters_and_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **_: None)
    with pytest.raises(TaskAwaitingInput) as waiting:
        operator().execute(context(verdict="promote", approval=True, approval_hours=2))
    assert waiting.value.timeout.total_seconds() == 7200
    (notice,) = (tmp_path / "notices").glob("*.json")
    assert '"approval"' in notice.read_text() and "Promote?" in notice.read_text()


@pytest.mark.parametrize(
    ("chosen", "person", "said"),
    [
        ("Approve", {"id": "1", "name": "kim"}, {"option": "approver", "by": "kim"}),
        ("Reject", {"id": "1", "name": "kim"}, {"option": "rejecter", "by": "kim"}),
        ("Reject", None, {"option": "rejecter", "by": NOBODY}),
    ],
)
def test_the_answer_names_who_gave_it(chosen: str, person: dict[str, str] | None, said: dict[str, str]) -> None:
    event = {"chosen_options": [chosen], "params_input": {}, "responded_at": datetime.now(UTC)}
    assert operator().execute_complete(context(), event | {"responded_by_user": person}) == said
