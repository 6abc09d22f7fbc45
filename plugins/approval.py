"""A person's word before a promotion, where the parameters ask for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk.exceptions import AirflowSkipException

from plugins.notices import ApprovalNotifier

NOBODY = "nobody: the time to answer was over"


class GateApproval(ApprovalOperator):
    """Asks in the Airflow UI whether the gate's verdict stands; no answer in time is a rejection.

    Skipped, so that the promotion goes on by itself, when ``gate.approval`` is off or there is nothing to promote.
    Returns ``{"option": "approver" or "rejecter", "by": who}``, and skips nothing itself: what comes after it writes
    the answer on the model version, a rejection too.
    """

    def __init__(self, *, gate: str, **kwargs: Any) -> None:
        super().__init__(
            defaults="Reject", response_timeout=timedelta(hours=24), notifiers=[ApprovalNotifier()], **kwargs
        )
        self.gate = gate

    def execute(self, context: Any) -> Any:
        verdict = context["ti"].xcom_pull(task_ids=self.gate)
        if verdict["verdict"] != "promote" or not verdict.get("approval"):
            raise AirflowSkipException("No approval is asked for: the gate decides.")
        self.response_timeout = timedelta(hours=verdict.get("approval_hours", 24))
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, str]:
        answer = HITLOperator.execute_complete(self, context, event)
        approved = answer["chosen_options"] == [self.APPROVE]
        person = answer["responded_by_user"]
        return {"option": "approver" if approved else "rejecter", "by": person["name"] if person else NOBODY}
