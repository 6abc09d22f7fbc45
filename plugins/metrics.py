"""What results of commands say in numbers, sent by Airflow's own switch: ``AIRFLOW__METRICS__STATSD_ON`` and its kin.

Names are ``swath.PROJECT.NAME`` behind Airflow's prefix; the project is in the name since plain statsd has no tags.
``docs/operations.md`` lists them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from airflow.sdk.observability import stats

log = logging.getLogger(__name__)

VERDICTS = {"none": 0, "warning": 1, "drift": 2}  # others are no verdict: -1


@dataclass(frozen=True)
class Measure:
    """``count`` is added up, ``level`` stays until the next, ``time`` is in seconds."""

    name: str
    kind: Literal["count", "level", "time"]
    value: float


def measures(command: Sequence[str], result: Mapping[str, Any]) -> list[Measure]:
    """What ``result`` of ``swath COMMAND...`` says in numbers; what it does not say is left out."""
    words = []
    for word in command:
        if word.startswith("-"):
            break
        words += [word] if word else []
    found = [Measure(f"commands.{'.'.join(words)}", "time", result["command_seconds"])]
    return found + list(_OF.get(" ".join(words[:2]), _nothing)(result))


def send(command: Sequence[str], result: Mapping[str, Any]) -> None:
    """Send them for the result's project. Whatever goes wrong in that must not change how a task ends."""
    try:
        for measure in measures(command, result):
            name = stats.normalize_name_for_stats(f"swath.{result.get('project', 'none')}.{measure.name}", False)
            if measure.kind == "count":
                stats.incr(name, measure.value)  # type: ignore[arg-type]  # megapixels are no whole numbers
            elif measure.kind == "level":
                stats.gauge(name, measure.value)
            else:
                stats.timing(name, timedelta(seconds=measure.value))
    except Exception:
        log.exception("Metrics of %s were not sent; see plugins/metrics.py", " ".join(command))


def _named(result: Mapping[str, Any], *wanted: tuple[str, Literal["count", "level", "time"], str]) -> Iterator[Measure]:
    for name, kind, key in wanted:
        if result.get(key) is not None:
            yield Measure(name, kind, float(result[key]))


def _nothing(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield from ()


def _ingested(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield from _named(result, ("scenes.ingested", "count", "published"), ("scenes.total", "level", "scenes"))
    yield from _named(result, ("scenes.quarantined", "level", "quarantined"), ("scenes.missing", "level", "missing"))


def _planned(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield from _named(result, ("maps.waiting", "level", "todo"))


def _mapped(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield from _named(result, ("maps.made", "count", "mapped"), ("maps.failed", "count", "failed"))
    yield from _named(result, ("maps.megapixels", "count", "megapixels"))
    if result.get("megapixels") and result.get("seconds"):
        yield Measure("maps.megapixels_per_second", "level", result["megapixels"] / result["seconds"])


def _compared(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield from _named(result, ("drift.scenes", "level", "scenes"), ("drift.odd", "level", "odd"))
    for feature, times in result.get("distances", {}).items():
        yield Measure(f"drift.distance.{feature}", "level", times)


def _decided(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield Measure("drift.verdict", "level", VERDICTS.get(result.get("verdict", ""), -1))
    if result.get("retrain"):
        yield Measure("drift.retrain", "count", 1)


def _judged(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield Measure(f"gate.{result['verdict']}", "count", 1)


def _promoted(result: Mapping[str, Any]) -> Iterator[Measure]:
    yield from _named(result, ("champion.version", "level", "champion"))


def _staged(result: Mapping[str, Any]) -> Iterator[Measure]:
    """A stage of ``dvc.yaml``; the time of ``train`` is that of a training."""
    if result["reused"]:
        yield Measure(f"stages.{result['stage']}.reused", "count", 1)
    else:
        yield from _named(result, (f"stages.{result['stage']}", "time", "seconds"))


_OF: dict[str, Callable[[Mapping[str, Any]], Iterator[Measure]]] = {
    "ingest publish": _ingested,
    "map plan": _planned,
    "map publish": _mapped,
    "drift compare": _compared,
    "drift decide": _decided,
    "model gate": _judged,
    "model promote": _promoted,
    "model rollback": _promoted,
} | {
    f"stage {stage}": _staged
    for stage in ("snapshot", "split", "chip", "validate", "statistics", "profile", "train", "evaluate")
}
