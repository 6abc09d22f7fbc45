"""The git watcher in the real triggerer, which is killed in the middle of a burst of pushes and started again."""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_LIMIT = 300  # seconds: only so that a broken watcher ends the test


def push(system: System, hours: int) -> str:
    """A commit of a parameter that decides something, and nothing that would have to be trained."""
    system.change(gate={"approval_hours": hours})
    system.git("commit", "--quiet", "--all", "--message", f"Wait {hours} hours for a person")
    return system.git("rev-parse", "HEAD")


def built(system: System, but: set[str]) -> dict[str, str]:
    """Revisions by run of the builds that have ended, all well and none open; those of ``but`` left out."""
    deadline = time.monotonic() + _LIMIT
    runs = system.airflow.runs("build_dataset")
    while not {run["state"] for run in runs} <= {"success", "failed"}:
        assert time.monotonic() < deadline, "builds go on and on"
        time.sleep(0.5)
        runs = system.airflow.runs("build_dataset")
    runs = [run for run in runs if run["dag_run_id"] not in but]
    assert {run["state"] for run in runs} <= {"success"}, runs
    ids = [run["dag_run_id"] for run in runs]
    return {run: str(system.airflow.result("build_dataset", run, "resolve_revision")["revision"]) for run in ids}


@pytest.fixture
def earlier(system: System) -> set[str]:
    """Builds before the test, at least one of them, none at work any more."""
    if system.git("status", "--porcelain"):
        system.git("commit", "--quiet", "--all", "--message", "A small region")
    if not system.airflow.runs("build_dataset"):
        system.airflow.trigger("ingest_scenes", {})
    deadline = time.monotonic() + _LIMIT
    while not (found := set(built(system, set()))):
        assert time.monotonic() < deadline, "nothing was ever built"
        time.sleep(0.5)
    time.sleep(3)  # the watcher has seen the commit
    return found | set(built(system, set()))


def test_no_push_of_a_burst_is_lost_or_doubled_when_the_triggerer_is_killed_within_it(
    system: System, earlier: set[str]
) -> None:
    first = push(system, 11)
    time.sleep(2.5)  # the watcher looks each second
    push(system, 12)
    system.kill_triggerer()
    push(system, 13)
    last = push(system, 14)
    system.start_triggerer()
    deadline = time.monotonic() + _LIMIT
    while last not in (found := built(system, earlier)).values():
        assert time.monotonic() < deadline, f"{last} was never built, only {found}"
        time.sleep(0.5)
    time.sleep(5)  # for what might be told twice
    found = built(system, earlier)
    order = system.git("rev-list", "--reverse", f"{first}~1..{last}").split()
    assert set(found.values()) <= set(order) and len(found) <= len(order), found
    log = system.git("log", "--first-parent", "--format=%(trailers:key=Swath-Source,valueonly)", "swath/sample").split()
    assert log[0] == last and log.count(last) == 1, "the newest push is the newest version, once"
    versions = [system.airflow.result("build_dataset", run, "version_and_push") for run in found]
    assert not any(version["changed"] for version in versions), "nobody trains for hours of patience"
