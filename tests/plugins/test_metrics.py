"""What a listener on the other end of Airflow's statsd switch hears of a command."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from plugins.metrics import measures
from tests.plugins.test_commands import answers, command, operator

__all__ = ["command"]  # a fixture


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], dict[str, str]]]:
    """What has arrived by UDP, by name; Airflow is set up as its task runner sets itself up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.2)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(listener.getsockname()[1]))
        stats.initialize(factory=get_stats_factory(), export_legacy_names=True)

        def hear() -> dict[str, str]:
            found: dict[str, str] = {}
            while True:
                try:
                    name, _, value = listener.recv(65_536).decode().partition(":")
                except TimeoutError:
                    return found
                found[name] = value

        yield hear
        monkeypatch.undo()
        stats.initialize(factory=get_stats_factory(), export_legacy_names=True)


def run(command: Any, words: list[str], result: dict[str, Any]) -> None:
    command(answers({"project": "sample", "changed": True} | result))
    task, context = operator()
    task.command = words
    task.execute(context)


def test_scenes_maps_drift_gate_and_training_are_heard(command: Any, heard: Callable[[], dict[str, str]]) -> None:
    run(command, ["ingest", "publish", "--run=x"], {"published": 4, "scenes": 9, "quarantined": 1, "missing": 0})
    run(command, ["map", "plan", "--run=x"], {"todo": 7})
    run(command, ["map", "publish", "--run=x"], {"mapped": 4, "failed": 0, "megapixels": 12.5, "seconds": 5.0})
    run(command, ["drift", "compare", "--run=x"], {"scenes": 6, "odd": 2, "distances": {"share of water": 1.5}})
    run(command, ["drift", "decide", "--run=x"], {"verdict": "drift", "retrain": True})
    run(command, ["model", "gate"], {"verdict": "promote"})
    run(command, ["model", "promote", "--run=x"], {"champion": "3"})
    run(command, ["stage", "train"], {"stage": "train", "reused": False, "seconds": 61.5})
    run(command, ["stage", "chip"], {"stage": "chip", "reused": True, "seconds": 1.0})
    said = heard()
    times = {name for name in said if ".commands." in name}
    assert len(times) == 9 and all(said[name].endswith("|ms") for name in times)
    assert {name.removeprefix("airflow.swath.sample."): said[name] for name in said.keys() - times} == {
        "scenes.ingested": "4.0|c",
        "scenes.total": "9.0|g",
        "scenes.quarantined": "1.0|g",
        "scenes.missing": "0.0|g",
        "maps.waiting": "7.0|g",
        "maps.made": "4.0|c",
        "maps.failed": "0.0|c",
        "maps.megapixels": "12.5|c",
        "maps.megapixels_per_second": "2.5|g",
        "drift.scenes": "6.0|g",
        "drift.odd": "2.0|g",
        "drift.distance.share_of_water": "1.5|g",
        "drift.verdict": "2|g",
        "drift.retrain": "1|c",
        "gate.promote": "1|c",
        "champion.version": "3.0|g",
        "stages.train": "61500.000000|ms",
        "stages.chip.reused": "1|c",
    }


def test_what_a_result_does_not_say_is_left_out() -> None:
    no_champion = {"todo": 0, "version": None, "command_seconds": 1.0}
    assert [m.name for m in measures(["map", "plan"], no_champion)] == ["commands.map.plan", "maps.waiting"]
    nothing = {"mapped": 0, "failed": 0, "total": 0, "command_seconds": 1.0}
    assert [m.name for m in measures(["map", "publish"], nothing)][1:] == ["maps.made", "maps.failed"]


def test_a_word_that_is_empty_is_no_part_of_a_name() -> None:
    (measure,) = measures(["model", "gate", ""], {"command_seconds": 1.0, "verdict": "promote"})[:1]
    assert measure.name == "commands.model.gate"


def test_a_result_that_cannot_be_told_in_numbers_leaves_the_task_as_it_was(command: Any, heard: Any) -> None:
    run(command, ["map", "plan"], {"todo": "many"})
    assert list(heard()) == []
