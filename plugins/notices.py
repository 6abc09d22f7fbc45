"""What people are told: written to the log, kept for the page, and sent to where the installation says.

``SWATH_NOTIFIERS`` is the one place for that: a JSON list of Airflow notifiers, each with its class and its arguments,
whose templates see ``notice``; ``kinds`` limits one to some kinds of notice:

    [{"notifier": "airflow.providers.http.notifications.HttpNotifier", "http_conn_id": "chat",
      "json": {"text": "{{ notice.title }}: {{ notice.why }}"}},
     {"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "kinds": ["approval", "drift"],
      "to": "maps@example.org", "subject": "{{ notice.title }}", "html_content": "{{ notice.why | e }}"}]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from airflow._shared.module_loading import import_string
from airflow.sdk import BaseNotifier
from pydantic import BaseModel, ConfigDict

from pipelines.config import settings
from pipelines.depot import post
from plugins.numbers import number

NOTIFIERS = "SWATH_NOTIFIERS"
Kind = Literal["failure", "late", "drift", "approval"]
log = logging.getLogger(__name__)


class Notice(BaseModel):
    """Something that a person should know. ``task`` is empty where it is about a whole run."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    title: str
    why: str
    dag: str
    run: str
    task: str = ""
    shard: int = -1  # of a mapped task
    when: str

    @property
    def key(self) -> str:
        """The same for the same thing told again, so that the page shows it once."""
        return hashlib.sha256(
            "\n".join((self.kind, self.dag, self.run, self.task, str(self.shard))).encode()
        ).hexdigest()[:24]


def tell(notice: Notice, context: Any = None) -> None:
    """Tell people. A notifier that fails is written to the log, and the others are told all the same."""
    log.log(logging.ERROR if notice.kind == "failure" else logging.WARNING, "%s: %s", notice.title, notice.why)
    with _unharmed("The page"):
        post(settings().notices / f"{notice.key}.json", notice.model_dump())
    with _unharmed(NOTIFIERS):
        for wanted in json.loads(os.environ.get(NOTIFIERS) or "[]"):
            if notice.kind in wanted.get("kinds", [notice.kind]):
                with _unharmed(f"The notifier {wanted.get('notifier')}"):
                    arguments = {name: value for name, value in wanted.items() if name not in ("notifier", "kinds")}
                    import_string(wanted["notifier"])(**arguments)({**(context or {}), "notice": notice})


@contextmanager
def _unharmed(who: str) -> Iterator[None]:
    """Whatever goes wrong in telling must not change how a run ends."""
    try:
        yield
    except Exception:
        log.exception("%s was not told; see plugins/notices.py for the form of %s", who, NOTIFIERS)


def tell_failure(context: Any) -> None:
    """``on_failure_callback`` of every task."""
    ti = context["ti"]
    why = str(context.get("exception") or "no reason was given")
    tell(_of_task("failure", f"{ti.dag_id}.{ti.task_id} failed", why, ti), context)


def tell_drift(context: Any) -> None:
    """``on_success_callback`` of the task that decides; it is skipped unless drift calls for a training."""
    ti = context["ti"]
    said = ti.xcom_pull(task_ids=ti.task_id) or {}
    tell(_of_task("drift", f"Drift in {said.get('project', 'a project')}", str(said.get("sentence")), ti), context)


async def tell_late(context: Any = None, **_: Any) -> None:
    """Callback of the deadline of every run, in the triggerer."""
    run = (context or {}).get("dag_run") or {}
    dag, id = str(run.get("dag_id", "?")), str(run.get("run_id") or run.get("dag_run_id") or "?")
    why = f"The run {id} has not ended in the time that a run may take."
    notice = Notice(kind="late", title=f"{dag} is late", why=why, dag=dag, run=id, when=_now())
    await asyncio.to_thread(tell, notice)


class ApprovalNotifier(BaseNotifier):
    """Tells that somebody is asked, for operators that wait for a person."""

    def notify(self, context: Any) -> None:
        ti, task = context["ti"], context["task"]
        tell(_of_task("approval", task.subject, task.body or "Airflow waits for an answer.", ti), context)


def late_hours() -> float:
    """Hours after which a run counts as late; a training has three times as many."""
    return number("SWATH_LATE_HOURS", 24, least=0.001)


def _of_task(kind: Kind, title: str, why: str, ti: Any) -> Notice:
    shard = -1 if ti.map_index is None else ti.map_index
    return Notice(
        kind=kind, title=title, why=why, dag=ti.dag_id, run=ti.run_id, task=ti.task_id, shard=shard, when=_now()
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
