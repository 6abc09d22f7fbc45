"""Moving the champion's alias to the challenger, or a person's refusal to."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData, SwathError
from pipelines.registry import aliases, record
from pipelines.registry.record import Record, Tags


class Promotion(BaseModel):
    """What became of an attempt to put a version in charge."""

    model_config = ConfigDict(frozen=True)

    champion: str | None
    former: str | None
    changed: bool
    reason: str


def promote(
    client: MlflowClient,
    name: str,
    approver: str | None = None,
    override: str | None = None,
    run: str | None = None,
    version: str | None = None,
) -> Promotion:
    """Make the challenger champion, if its decision says so and was taken against the champion of today.

    With ``version``, which a person or the gate spoke of, nothing changes where another one is challenger by now.
    ``override`` is a person's reason to promote in spite of the decision. Doing it twice changes nothing the second
    time, unless it is the same ``run`` that does it: killed before it could tell of the change, it tells of it again.
    Raises ``BadData`` if there is no challenger, ``SwathError`` if the records cannot be reached, were altered, or
    take no further one.
    """
    finished = record.finish(client, name)
    challenger, champion = _contenders(client, name)
    number = str(challenger.version)
    former = str(champion.version) if champion else None
    if passed := _passed(challenger, version):
        return Promotion(champion=former, former=former, changed=False, reason=passed)
    if finished and former == number:
        reason = f"Version {number} was recorded as champion, and is now."
        return Promotion(champion=number, former=finished.before, changed=True, reason=reason)
    if former == number:
        return already(challenger, run)
    challenger = record.settle(client, challenger)
    obstacle = None if override else _obstacle(challenger, former)
    if obstacle:
        return Promotion(champion=former, former=former, changed=False, reason=obstacle)
    reason = f"Promoted against the decision: {override}" if override else challenger.tags[aliases.REASONS]
    when = record.now()
    tags: Tags = {aliases.PROMOTED: when.isoformat(), aliases.FORMER: former or "", aliases.MOVED_BY: run or ""}
    tags |= {aliases.APPROVER: approver} if approver else {}
    tags |= {aliases.REASONS: reason} if override else {}
    tags |= {aliases.WITHDRAWN: None} if aliases.WITHDRAWN in challenger.tags else {}
    record.move(
        client,
        name,
        Record(
            kind="promoted",
            version=number,
            before=former,
            after=number,
            reasons=tuple(reason.splitlines()),
            who=approver or (None if run else record.person()),
            run=run,
            when=when,
            changes=(record.change(challenger, tags),),
        ),
    )
    return Promotion(champion=number, former=former, changed=True, reason=reason)


def already(champion: ModelVersion, run: str | None) -> Promotion:
    """What is to tell of a version that is in charge: a change if ``run`` itself put it there, else none."""
    number, changed = str(champion.version), bool(run) and champion.tags.get(aliases.MOVED_BY) == run
    former = champion.tags.get(aliases.FORMER) or None if changed else None
    reason = f"Version {number} is champion already" + (", put there by this run." if changed else ".")
    return Promotion(champion=number, former=former, changed=changed, reason=reason)


def reject(
    client: MlflowClient, name: str, rejecter: str, run: str | None = None, version: str | None = None
) -> Promotion:
    """Write on the challenger that ``rejecter`` refused it, whatever its decision was; the champion stays.

    With ``version``, of which the person was asked, nothing is written where another one is challenger by now. Raises
    ``BadData`` if there is no challenger, or if it is champion already.
    """
    record.finish(client, name)
    challenger, champion = _contenders(client, name)
    former = str(champion.version) if champion else None
    if passed := _passed(challenger, version):
        return Promotion(champion=former, former=former, changed=False, reason=passed)
    if former == str(challenger.version):
        raise BadData(f"Version {former} is champion already; put a former one in charge with `swath model rollback`.")
    reason = f"Rejected by {rejecter}."
    reasons = [line for line in challenger.tags.get(aliases.REASONS, "").splitlines() if line != reason] + [reason]
    tags: Tags = {aliases.REJECTER: rejecter, aliases.REASONS: "\n".join(reasons), aliases.DECISION: "refuse"}
    record.keep(
        client,
        name,
        Record(
            kind="rejected",
            version=str(challenger.version),
            before=former,
            after=former,
            reasons=tuple(reasons),
            who=rejecter,
            run=run,
            when=record.now(),
            changes=(record.change(challenger, tags),),
        ),
    )
    return Promotion(champion=former, former=former, changed=False, reason=f"Version {challenger.version}: {reason}")


def _contenders(client: MlflowClient, name: str) -> tuple[ModelVersion, ModelVersion | None]:
    challenger = aliases.holder(client, name, aliases.CHALLENGER)
    if challenger is None:
        raise BadData(f"{name} has no challenger; register a model with `swath model register` first.")
    return challenger, aliases.holder(client, name, aliases.CHAMPION)


def _passed(challenger: ModelVersion, version: str | None) -> str | None:
    if version is None or version == str(challenger.version):
        return None
    return (
        f"Version {version} was spoken of, and version {challenger.version} is challenger by now; nothing is changed. "
        "Run `swath model gate` again."
    )


def _obstacle(challenger: ModelVersion, champion: str | None) -> str | None:
    number, tags = challenger.version, challenger.tags
    verdict = tags.get(aliases.DECISION)
    if verdict is None:
        return f"Version {number} has not been judged; run `swath model gate` first."
    kept, faults = record.records(challenger.name)
    if faults:
        raise SwathError(f"{' '.join(faults)} Nothing is promoted on that.")
    if altered := record.differences(kept, challenger):
        told = " ".join(altered)
        return f"{told} Nothing is promoted on that; find out who did it, and run `swath model gate` again."
    if why := tags.get(aliases.WITHDRAWN):
        return f"Version {number} was taken out of charge: {why}"
    if verdict != "promote":
        return f"Version {number} was refused: {tags.get(aliases.REASONS, 'no reason is on record')}"
    if tags.get(aliases.AGAINST, "") != (champion or ""):
        return (
            f"Version {number} was judged against version {tags.get(aliases.AGAINST) or 'none'}, but version "
            f"{champion or 'none'} is champion now; run `swath model gate` again."
        )
    return None
