"""Which revision a run is asked to work at."""

from __future__ import annotations

from typing import Any


def asked_in_form(context: Any) -> bool:
    return bool((context.get("params") or {}).get("revision"))


def asked_revision(context: Any) -> str:
    """The revision of the run's form; else of the newest asset event that started it; else empty: the branch's tip.

    Airflow drops events that come while a run waits its turn, so an event says no more than that something changed:
    see ``resolve_newest``.
    """
    if asked_in_form(context):
        return str(context["params"]["revision"])
    events = [event for found in (context.get("triggering_asset_events") or {}).values() for event in found]
    for event in sorted(events, key=lambda e: e.timestamp, reverse=True):
        extra = event.extra or {}  # which anybody with the right to create asset events may write
        told = extra.get("payload", extra) if extra.get("from_trigger") else extra
        revision = told.get("revision") if isinstance(told, dict) else None
        if isinstance(revision, str) and revision:
            return revision
    return ""


def backfilled_day(asked: str | None, dag_run: Any) -> str:
    """The day of a form; else, in a backfill, the day that the run stands for; else empty."""
    if asked:
        return asked
    if dag_run.run_type == "backfill" and dag_run.logical_date:
        return str(dag_run.logical_date.date().isoformat())
    return ""
