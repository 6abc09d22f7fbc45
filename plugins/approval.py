"""A person's word before a promotion, where the parameters ask for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException


class GateApproval(ApprovalOperator):
    """Asks in the Airflow UI whether the gate's verdict stands; no answer in time is a rejection.

    Skipped, so that the promotion goes on by itself, when ``gate.approval`` is off or there is nothing to promote.
    """

    def __init__(self, *, gate: str, **kwargs: Any) -> None:
        super().__init__(defaults="Reject", response_timeout=timedelta(hours=24), **kwargs)
        self.gate = gate

    def execute(self, context: Any) -> Any:
        verdict = context["ti"].xcom_pull(task_ids=self.gate)
        if verdict["verdict"] != "promote" or not verdict.get("approval"):
            raise AirflowSkipException("No approval is asked for: the gate decides.")
        self.response_timeout = timedelta(hours=verdict.get("approval_hours", 24))
        return super().execute(context)
