"""What all DAGs share: owner, retries, timeouts, and the form field for a revision."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param
from airflow.sdk.definitions.asset import BaseAsset
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from plugins.notices import late_hours, tell_failure, tell_late
from plugins.numbers import number

log = logging.getLogger(__name__)

DAYS = timedelta(days=2)  # for what looks at every pixel of a dataset or of a shard, which grow with the team's region

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "swath",
    "retries": 2,
    "retry_delay": timedelta(seconds=number("SWATH_RETRY_SECONDS", 20, least=0)),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(hours=2),
    "on_failure_callback": tell_failure,
}


def deadline(hours: float) -> DeadlineAlert:
    """A run that has not ended so many hours after it was queued is told of."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=timedelta(hours=hours), callback=AsyncCallback(tell_late)
    )


# A DAG run holds for its project; two at once would race for the same catalog, branch and alias.
DAG_ARGS: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "default_args": DEFAULT_ARGS,
    "render_template_as_native_obj": False,
    "deadline": deadline(late_hours()),
}


def schedule(
    expression: str, events: BaseAsset | None = None
) -> CronTriggerTimetable | AssetOrTimeSchedule | BaseAsset | None:
    """At the times of ``expression`` in UTC, and at ``events``; at these alone where ``SWATH_SCHEDULE`` is ``off``.

    A DAG that is switched on waits for its next time, unless that was just now.
    Airflow's own default runs it at once when its last time is less than a tenth of the interval ago: the first
    `make run` of an installation would ingest twice in the two hours after midnight.
    """
    if not _by_the_clock():
        return events
    times = CronTriggerTimetable(expression, timezone="UTC", run_immediately=timedelta(minutes=2))
    return AssetOrTimeSchedule(timetable=times, assets=events) if events else times


def _by_the_clock() -> bool:
    told = os.environ.get("SWATH_SCHEDULE") or "on"
    if told not in ("on", "off"):
        log.error("SWATH_SCHEDULE is %r, and must be on or off; on is taken.", told)
    return told != "off"


def revision_param() -> Param:
    return Param(
        None,
        type=["null", "string"],
        title="Revision",
        maxLength=200,
        description="Commit, branch, tag or experiment of DVC (its name, as `dvc exp push` sent it) whose code and "
        "params.yaml the run uses. Empty: the revision of the event that started it, or the tip of the watched branch.",
    )


def day_param(title: str) -> Param:
    return Param(None, type=["null", "string"], format="date", title=title, description="Empty: as params.yaml says.")


def revision_of(task_id: str, key: str = "return_value") -> str:
    """Template for the revision that an earlier task of the run settled on; nothing where it failed."""
    return f"{{{{ (ti.xcom_pull(task_ids='{task_id}', key='{key}') or {{}}).get('revision', '') }}}}"
