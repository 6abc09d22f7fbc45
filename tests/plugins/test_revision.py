from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from plugins.revision import asked_revision, backfilled_day


def event(hour: int, extra: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(timestamp=datetime(2026, 1, 1, hour, tzinfo=UTC), extra=extra)


def test_the_form_wins_over_events() -> None:
    context = {"params": {"revision": "v1"}, "triggering_asset_events": {"dataset": [event(1, {"revision": "old"})]}}
    assert asked_revision(context) == "v1"


def test_the_newest_event_wins_over_older_ones_of_any_asset() -> None:
    events = {
        "scenes": [event(1, {"revision": "first"}), event(3, {"revision": "third"})],
        "git_push": [event(2, {"from_trigger": True, "payload": {"revision": "second"}})],
    }
    assert asked_revision({"params": {"revision": None}, "triggering_asset_events": events}) == "third"


def test_the_payload_of_a_watcher_is_read() -> None:
    pushed = event(2, {"from_trigger": True, "payload": {"revision": "pushed"}})
    assert asked_revision({"params": {}, "triggering_asset_events": {"git_push": [pushed]}}) == "pushed"


def test_without_form_and_event_the_branch_decides() -> None:
    assert asked_revision({"params": {"revision": None}}) == ""


def test_a_backfilled_run_is_its_own_day_and_a_daily_run_is_any() -> None:
    day = SimpleNamespace(run_type="backfill", logical_date=datetime(2026, 5, 4, tzinfo=UTC))
    assert backfilled_day(None, day) == "2026-05-04"
    assert backfilled_day("2026-01-01", day) == "2026-01-01"
    assert backfilled_day(None, SimpleNamespace(run_type="scheduled", logical_date=day.logical_date)) == ""
    assert backfilled_day(None, SimpleNamespace(run_type="manual", logical_date=None)) == ""
