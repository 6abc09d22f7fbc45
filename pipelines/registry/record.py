"""Records of decisions: what the gate and people decided, kept where nobody can edit it, and held against MLflow.

The record comes first and MLflow's tags follow from it, so a tag that says something else was changed by hand.
"""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import SwathError
from pipelines.registry import aliases
from pipelines.workspace.ledger import Entry, append, branch_of_decisions, read

log = logging.getLogger(__name__)

CUT_OFF = timedelta(minutes=10)  # a move that MLflow has not heard of for longer is one whose process has ended

Tags = dict[str, str | None]  # None: the tag is taken away


class Change(BaseModel):
    """What a decision writes on one version. A number alone names none: another MLflow counts from 1 too."""

    model_config = ConfigDict(frozen=True)

    version: str
    run_id: str  # of MLflow, that of the training
    tags: Tags


class Record(BaseModel):
    """A decision. ``before`` and ``after`` are the champions around it; ``None`` for none."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["judged", "promoted", "rejected", "restored"]
    version: str  # that it is about
    before: str | None
    after: str | None
    reasons: tuple[str, ...]
    who: str | None  # the person; None where the gate decided alone, or nobody triggered a run
    run: str | None  # of Airflow, as `run_name` writes it; None at a desk
    when: datetime
    decision: dict[str, Any] | None = None  # of the gate: verdict, evidence, thresholds, commit, dataset
    changes: tuple[Change, ...]

    @property
    def by(self) -> str:
        """Whose decision it was, in words."""
        return self.who or ("a run of Airflow" if self.kind == "restored" else "the gate")


class Kept(BaseModel):
    """A record in the ledger."""

    model_config = ConfigDict(frozen=True)

    number: int
    commit: str
    record: Record

    def about(self, version: str, run_id: str | None) -> Change | None:
        return next((c for c in self.record.changes if (c.version, c.run_id) == (version, run_id)), None)


class Check(BaseModel):
    """All records of a project, and what disagrees with them."""

    model_config = ConfigDict(frozen=True)

    records: tuple[Kept, ...]
    moves: tuple[Record, ...]  # those that put another version in charge, which may be gone since
    faults: tuple[str, ...]  # of the ledger, and of the champion
    versions: dict[str, tuple[str, ...]]  # sentences by version; empty where MLflow says what the records say

    @property
    def agrees(self) -> bool:
        return not self.faults and not any(self.versions.values())

    def of(self, version: str, run_id: str | None) -> tuple[Kept, ...]:
        return tuple(kept for kept in self.records if kept.about(version, run_id))


def person() -> str:
    """Whoever works at this desk."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def change(version: ModelVersion, tags: Tags) -> Change:
    return Change(version=str(version.version), run_id=str(version.run_id), tags=tags)


def keep(client: MlflowClient, name: str, record: Record) -> Record:
    """Put ``record`` into the ledger of the model ``name``, then its tags on the versions.

    The same decision told again, by a task that was tried again, is recorded once: the record that is there is
    returned, and its tags are written again. Nothing is written where the ledger refuses, or where another champion is
    in charge by now than the one that the record starts from (``SwathError``).
    """
    return _kept_and_written(client, name, record).record


def move(client: MlflowClient, name: str, record: Record) -> Record:
    """Record that another version is put in charge, and put it there.

    Record and tags come before the alias, so killed in between, ``finish`` or the next try knows all that is owed; the
    last tag tells a move that was cut off from one that somebody took back by hand.
    """
    kept = _kept_and_written(client, name, record)
    _put_in_charge(client, name, kept)
    return kept.record


def finish(client: MlflowClient, name: str) -> Record | None:
    """Make the move that the last record tells of, if whoever recorded it was cut off; returns it then.

    To be called before anything is decided, for until then no other decision is recorded. A move that was recorded less
    than ``CUT_OFF`` ago is left to whoever may still be at it.
    """
    kept, faults = records(name)
    if faults:
        return None
    moved = _pending(client, name, kept)
    if moved is None:
        _confirm(client, name, kept)
    if moved is None or now() - moved.record.when < CUT_OFF:
        return None
    for each in moved.record.changes:
        _write(client, name, moved.commit, each)
    _put_in_charge(client, name, moved)
    log.warning("Version %s is champion now, as record %d says, which was cut off.", moved.record.after, moved.number)
    return moved.record


def settle(client: MlflowClient, version: ModelVersion) -> ModelVersion:
    """Write the tags that whoever was killed after recording the last decision about ``version`` still owes."""
    kept, _ = records(version.name)
    about = [(each.commit, found) for each in kept if (found := each.about(str(version.version), version.run_id))]
    before = about[-2][0] if len(about) > 1 else None
    if not about or version.tags.get(aliases.CHAIN) != before:
        return version
    _write(client, version.name, *about[-1])
    return client.get_model_version(version.name, str(version.version))


def _kept_and_written(client: MlflowClient, name: str, record: Record) -> Kept:
    kept = _appended(client, name, record)
    for each in kept.record.changes:
        _write(client, name, kept.commit, each)
    return kept


def _put_in_charge(client: MlflowClient, name: str, kept: Kept) -> None:
    assert kept.record.after is not None
    client.set_registered_model_alias(name, aliases.CHAMPION, kept.record.after)
    client.set_model_version_tag(name, kept.record.after, aliases.IN_CHARGE, kept.commit)


def _confirm(client: MlflowClient, name: str, kept: Sequence[Kept]) -> None:
    """Tag the champion whom the last move put in charge, if it was killed before it could, or made before there were
    such tags: else an alias that is moved by hand later would be taken for a move that was cut off."""
    moves = _moves(kept, aliases.versions(client, name))
    champion = aliases.holder(client, name, aliases.CHAMPION)
    if not moves or champion is None or str(champion.version) != moves[-1].record.after:
        return
    if champion.tags.get(aliases.IN_CHARGE) != moves[-1].commit:
        client.set_model_version_tag(name, str(champion.version), aliases.IN_CHARGE, moves[-1].commit)


def _write(client: MlflowClient, name: str, commit: str, change: Change) -> None:
    version = client.get_model_version(name, change.version)
    for tag, value in change.tags.items():
        if value is not None:
            client.set_model_version_tag(name, change.version, tag, value)
        elif tag in version.tags:
            client.delete_model_version_tag(name, change.version, tag)
    client.set_model_version_tag(name, change.version, aliases.CHAIN, commit)  # last: it says that all others are there


def records(name: str) -> tuple[tuple[Kept, ...], tuple[str, ...]]:
    """The records of the model ``name``, the earliest first, and the faults of their ledger."""
    ledger = read(branch_of_decisions(name))
    return _kept(ledger.entries), ledger.faults


def check(client: MlflowClient, name: str) -> Check:
    """Hold what MLflow says of the model ``name`` against its records."""
    kept, faults = records(name)
    found = aliases.versions(client, name)
    wrong = _champion(kept, found, _champion_now(client, name))
    versions = {str(each.version): differences(kept, each) for each in found}
    moves = tuple(each.record for each in _since(kept, found) if each.record.before != each.record.after)
    return Check(records=kept, moves=moves, faults=(*faults, *wrong), versions=versions)


def differences(kept: Sequence[Kept], version: ModelVersion) -> tuple[str, ...]:
    """Sentences: what the tags of ``version`` say that its records do not, and the other way round."""
    number, tags = str(version.version), version.tags
    about = [(each, found) for each in kept if (found := each.about(number, version.run_id))]
    sentences = []
    pin = tags.get(aliases.CHAIN)
    if pin and pin not in {each.commit for each in kept}:
        sentences.append(
            f"Version {number} was decided by the record {pin[:12]}, which is gone: it was taken out, or the history "
            "rewritten."
        )
    elif about and pin != about[-1][0].commit:
        sentences.append(
            f"Version {number} has record {about[-1][0].number}, and its tag {aliases.CHAIN} names {pin or 'none'}."
        )
    if not about:
        if aliases.DECISION in tags or aliases.PROMOTED in tags:
            sentences.append(f"Version {number} is tagged as decided on, and no record says so.")
        return tuple(sentences)
    expected: Tags = {}
    for _, found in about:
        expected |= found.tags
    for tag in sorted({*expected, *(_DECIDED & tags.keys())}):
        told, recorded = tags.get(tag), expected.get(tag)
        if told != recorded:
            sentences.append(f"Version {number}: MLflow's tag {tag} {_said(told, recorded)}")
    return tuple(sentences)


_DECIDED = {
    aliases.DECISION,
    aliases.APPROVER,
    aliases.REJECTER,
    aliases.PROMOTED,
    aliases.RESTORED,
    aliases.WITHDRAWN,
}  # none of these is there but by a decision


def _said(told: str | None, recorded: str | None) -> str:
    if told is None:
        return f"was removed; the record says {recorded!r}."
    return (
        f"says {told!r}; the record says {recorded!r}." if recorded is not None else f"says {told!r}; no record does."
    )


def _champion(kept: Iterable[Kept], versions: Sequence[ModelVersion], champion: str | None) -> list[str]:
    moves = _moves(kept, versions)
    if moves and moves[-1].record.after != champion:
        return [
            f"Version {moves[-1].record.after} is champion by the records, and version {champion or 'none'} in MLflow."
        ]
    if champion and not moves:
        return [f"Version {champion} is champion in MLflow, and no record says how it became so."]
    return []


def _moves(kept: Iterable[Kept], versions: Sequence[ModelVersion]) -> list[Kept]:
    """The records that put another version in charge, of ``versions``: a registry that began anew has others."""
    known = {(str(each.version), each.run_id) for each in versions}
    return [
        each
        for each in kept
        if each.record.before != each.record.after and any((c.version, c.run_id) in known for c in each.record.changes)
    ]


def _since(kept: Sequence[Kept], versions: Sequence[ModelVersion]) -> Sequence[Kept]:
    """The records from the first about one of ``versions`` on: those before it are of a registry that began anew."""
    known = {(str(each.version), each.run_id) for each in versions}
    about = (n for n, each in enumerate(kept) if any((c.version, c.run_id) in known for c in each.record.changes))
    return kept[next(about, len(kept)) :]


def _appended(client: MlflowClient, name: str, record: Record) -> Kept:
    known: list[Kept] = []

    def make(entries: tuple[Entry, ...]) -> dict[str, Any] | None:
        kept = _kept(entries)
        # the same words count as the same decision only if nothing was decided since about any version they concern
        about = [each for each in kept if any(each.about(c.version, c.run_id) for c in record.changes)]
        known[:] = [each for each in about[-1:] if _told(each.record) == _told(record)]
        if not known:
            _require_settled(client, name, record, kept)
        return None if known else record.model_dump(mode="json")

    entries = append(branch_of_decisions(name), make)
    return known[0] if known else _kept(entries[-1:])[0]


def _require_settled(client: MlflowClient, name: str, record: Record, kept: Sequence[Kept]) -> None:
    if moved := _pending(client, name, kept):
        raise SwathError(
            f"By the records version {moved.record.after} of {name} takes the place of version "
            f"{moved.record.before or 'none'}, and MLflow has not heard of it yet; try again from "
            f"{moved.record.when + CUT_OFF:%H:%M} UTC on, when it is taken for cut off, and finished first."
        )
    if record.before == record.after:
        return
    champion = _champion_now(client, name)
    if champion != record.before:
        raise SwathError(
            f"Version {champion or 'none'} of {name} is champion by now, not {record.before or 'none'}; look at what "
            "changed, and decide again."
        )
    versions = aliases.versions(client, name)
    moves = _moves(kept, versions)
    after = moves[-1].record.after if moves else None
    if after != champion and after in {str(each.version) for each in versions}:  # or it was deleted
        raise SwathError(
            f"Version {champion or 'none'} of {name} is champion in MLflow, and by the records version {after} is: "
            f"somebody moved the alias by hand. Move it to version {after} in MLflow, and change it with `swath model`."
        )


def _pending(client: MlflowClient, name: str, kept: Sequence[Kept]) -> Kept | None:
    """The record whose move was cut off: MLflow still has the champion that it starts from, and never had the other."""
    versions = {str(each.version): each for each in aliases.versions(client, name)}
    moves = _moves(kept, list(versions.values()))
    if not moves or moves[-1].record.before != _champion_now(client, name):
        return None
    version = versions.get(moves[-1].record.after or "")
    return moves[-1] if version is not None and version.tags.get(aliases.IN_CHARGE) != moves[-1].commit else None


def _champion_now(client: MlflowClient, name: str) -> str | None:
    champion = aliases.holder(client, name, aliases.CHAMPION)
    return str(champion.version) if champion else None


def _told(record: Record) -> dict[str, Any]:
    """What makes it the same decision: all but the time, and how fast the models were at that time."""
    told = record.model_dump(mode="json", exclude={"when", "changes", "decision"})
    decision = dict(record.decision or {})
    evidence = dict(decision.pop("evidence", None) or {})
    for passing in (decision, "when"), (evidence, "slowdown"):
        passing[0].pop(passing[1], None)
    return told | {"decision": decision, "evidence": evidence}


def _kept(entries: Iterable[Entry]) -> tuple[Kept, ...]:
    found = []
    for each in entries:
        try:
            record = Record.model_validate(each.content)
        except ValidationError as error:
            where = f"Record {each.number} of the decisions, {each.commit[:12]},"
            raise SwathError(f"{where} is not one that this version of swath can read: {error}") from None
        found.append(Kept(number=each.number, commit=each.commit, record=record))
    return tuple(found)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
