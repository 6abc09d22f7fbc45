"""The model versions of a project with all that was decided about them, out of the registry's tags."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData
from pipelines.evaluation.tracking import active_run, store
from pipelines.files import read_json
from pipelines.registry import aliases
from pipelines.registry.gate import PICTURES
from pipelines.registry.record import Check, Record, check

State = Literal["champion", "challenger", "former champion", "withdrawn", "refused", "registered"]

_SCORES = {"mIoU": "miou.value", "accuracy": "accuracy", "F1": "f1", "calibration error": "ece", "boundary": "boundary"}


class Event(BaseModel):
    """Something that happened to a version; ``when`` is ``None`` where nobody wrote it down."""

    model_config = ConfigDict(frozen=True)

    when: datetime | None
    what: str
    why: str = ""
    run: str | None = None  # of Airflow, as `run_name` writes it


class Version(BaseModel):
    """A version, its scores on the test ground, the gate's decision and what happened to it, the earliest first."""

    model_config = ConfigDict(frozen=True)

    number: int
    state: State
    description: str
    created: datetime
    run_id: str | None  # of MLflow
    experiment_id: str | None
    commit: str | None
    dataset: str | None  # DVC's hash
    scores: dict[str, float]
    interval: tuple[float, float] | None  # of the mIoU
    verdict: str | None
    reasons: tuple[str, ...]
    record: dict[str, Any] | None  # decision.json: evidence and thresholds
    events: tuple[Event, ...]


class Term(BaseModel):
    """A time in charge; ``until`` is ``None`` for the champion of today."""

    model_config = ConfigDict(frozen=True)

    version: int
    since: datetime | None  # None: since before there were records
    until: datetime | None
    why: str


def history(project: str) -> list[Version]:
    """All versions of the model ``project``, the newest first. Raises ``SwathError`` if MLflow cannot be reached."""
    with store() as client:
        found = client.search_registered_models(filter_string=f"name = '{project}'")
        held = {str(number): alias for alias, number in sorted(found[0].aliases.items())} if found else {}
        return [_version(client, each, held.get(str(each.version))) for each in aliases.versions(client, project)]


def checked(project: str) -> Check:
    """The records of all decisions on ``project``, and what MLflow says against them.

    Raises ``SwathError`` if MLflow cannot be reached, or a record not be read.
    """
    with store() as client:
        return check(client, project)


def decision_picture(project: str, number: int, name: str) -> bytes:
    """A PNG that the gate drew for its decision on a version. Raises ``BadData`` if there is none of that name."""
    with store() as client, tempfile.TemporaryDirectory() as scratch:
        run = aliases.version(client, project, str(number)).run_id
        path = f"{PICTURES}/{name}.png"
        if path not in [each.path for each in client.list_artifacts(run, PICTURES)]:
            raise BadData(f"The gate has drawn no {name} for version {number} of {project}.")
        return Path(client.download_artifacts(run, path, scratch)).read_bytes()


def terms(moves: Sequence[Record]) -> list[Term]:
    """Who was in charge when, the latest first; ``moves`` are the records that put another version in charge."""
    ends = [*(move.when for move in moves[1:]), None][: len(moves)]
    found = [
        Term(version=int(move.after), since=move.when, until=end, why=f"{' '.join(move.reasons)} ({move.by})")
        for move, end in zip(moves, ends, strict=True)
        if move.after
    ]
    if moves and moves[0].before:
        found = [Term(version=int(moves[0].before), since=None, until=moves[0].when, why=""), *found]
    return found[::-1]


def _version(client: MlflowClient, version: ModelVersion, alias: str | None) -> Version:
    tags = version.tags
    run = active_run(client, version.run_id)
    reasons = tuple(tags.get(aliases.REASONS, "").splitlines())
    record = None
    if run is not None and aliases.RECORD in tags:
        with suppress(FileNotFoundError):  # the gate writes it last, and may be about to
            record = _record(tags[aliases.RECORD], tags.get(aliases.DECIDED), tags.get(aliases.CHAIN))
    low, high = tags.get("swath.miou.low"), tags.get("swath.miou.high")
    return Version(
        number=int(version.version),
        state=_state(tags, alias),
        description=version.description or "",
        created=_moment(version.creation_timestamp),
        run_id=version.run_id,
        experiment_id=run.info.experiment_id if run else None,
        commit=tags.get(aliases.COMMIT) or None,
        dataset=tags.get(aliases.DATASET) or None,
        scores={name: float(tags[f"swath.{key}"]) for name, key in _SCORES.items() if f"swath.{key}" in tags},
        interval=(float(low), float(high)) if low and high else None,
        verdict=tags.get(aliases.DECISION),
        reasons=reasons,
        record=record,
        events=_events(version, record),
    )


def _state(tags: dict[str, str], alias: str | None) -> State:
    if alias == aliases.CHAMPION:
        return "champion"
    if aliases.WITHDRAWN in tags:
        return "withdrawn"
    if aliases.PROMOTED in tags:
        return "former champion"
    if tags.get(aliases.DECISION) == "refuse":
        return "refused"
    return "challenger" if alias == aliases.CHALLENGER else "registered"


def _events(version: ModelVersion, record: dict[str, Any] | None) -> tuple[Event, ...]:
    tags, events = version.tags, [Event(when=_moment(version.creation_timestamp), what="registered")]
    if record and record.get("verdict"):  # the tags have a person's word since, where one was asked
        opponent = (record.get("evidence") or {}).get("opponent")
        champion = f"version {record.get('champion')}"
        beside = {"champion": f" beside {champion}", "baseline": " beside the baseline, for there was no champion"}
        what = f"judged{beside.get(str(opponent), '')}: {record['verdict']}"
        why = "\n".join(record.get("reasons", ()))
        events.append(Event(when=datetime.fromisoformat(record["when"]), what=what, why=why))
    elif verdict := tags.get(aliases.DECISION):
        events.append(Event(when=None, what=f"judged: {verdict}", why=tags.get(aliases.REASONS, "")))
    for key, word in ((aliases.APPROVER, "approved"), (aliases.REJECTER, "rejected")):
        if key in tags:
            events.append(Event(when=None, what=f"{word} by {tags[key]}"))
    restored, run = tags.get(aliases.RESTORED), tags.get(aliases.MOVED_BY) or None
    former = tags.get(aliases.FORMER)
    after = f" after version {former}" if former else ""
    if promoted := tags.get(aliases.PROMOTED):
        what = "took charge" + ("" if restored else after)
        events.append(Event(when=datetime.fromisoformat(promoted), what=what, run=None if restored else run))
    if restored:
        why = tags.get(aliases.RESTORED_WHY, "")
        what = f"took charge again, by a rollback{after}"
        events.append(Event(when=datetime.fromisoformat(restored), what=what, why=why, run=run))
    if why := tags.get(aliases.WITHDRAWN):
        events.append(Event(when=None, what="taken out of charge by a rollback", why=why))
    return tuple(events)


@lru_cache(maxsize=256)
def _record(uri: str, decided: str | None, chain: str | None) -> dict[str, Any]:
    """What lies at ``runs:/<id>/decision.json``; another time or tag of the chain stands for another decision.

    Raises ``FileNotFoundError`` if nothing does.
    """
    run_id, path = uri.removeprefix("runs:/").split("/", 1)
    with store() as client, tempfile.TemporaryDirectory() as scratch:
        if not any(each.path == path for each in client.list_artifacts(run_id)):
            raise FileNotFoundError(uri)
        return dict(read_json(Path(client.download_artifacts(run_id, path, scratch))))


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
