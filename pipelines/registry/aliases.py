"""The two aliases of a registered model, the tags that its versions carry, and moving between them."""

from __future__ import annotations

from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from pydantic import BaseModel, ConfigDict

from pipelines.bundle.store import DIGEST_TAG
from pipelines.errors import BadData

CHALLENGER = "challenger"
CHAMPION = "champion"

BUNDLE = "swath.bundle"  # runs:/<id>/bundle
BUNDLE_DIGEST = DIGEST_TAG
COMMIT = "swath.commit"
DATASET = "swath.dataset"
SCENES = "swath.scenes_sha256"  # of the bundle's list of scenes and their checksums
REGISTERED_BY = "swath.registered_by_run"  # DAG/RUN of Airflow; empty at a desk
DECISION = "swath.decision"  # promote or refuse
REASONS = "swath.decision.reasons"  # one a line
RECORD = "swath.decision.record"  # runs:/<id>/decision.json
DECIDED = "swath.decision.at"
DECIDED_BY = "swath.decision.run"  # DAG/RUN of Airflow; empty at a desk
AGAINST = "swath.decision.champion"  # version that was champion when it was decided; empty for none
PROMOTED = "swath.promoted_at"  # only versions that were champion have it
APPROVER = "swath.approver"
REJECTER = "swath.rejecter"
MOVED_BY = "swath.promoted_by_run"  # the run that put it in charge, last
FORMER = "swath.former_champion"  # version that this one followed; empty for none
RESTORED = "swath.restored_at"
RESTORED_WHY = "swath.restored_because"
WITHDRAWN = "swath.withdrawn_because"  # only versions that a rollback took out of charge have it


class Promotion(BaseModel):
    """What became of an attempt to put a version in charge."""

    model_config = ConfigDict(frozen=True)

    champion: str | None
    former: str | None
    changed: bool
    reason: str


def holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that has ``alias``, or ``None`` where there is no such model or alias."""
    found = client.search_registered_models(filter_string=f"name = '{name}'")
    version = found[0].aliases.get(alias) if found else None
    return client.get_model_version(name, str(version)) if version else None


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions, newest first."""
    found = client.search_model_versions(f"name = '{name}'", max_results=1000)
    return sorted(found, key=lambda version: -int(version.version))


def version(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """Raises ``BadData`` with the versions that exist."""
    known = {str(v.version): v for v in versions(client, name)}
    if number not in known:
        raise BadData(f"{name} has no version {number}; it has {', '.join(sorted(known, key=int)) or 'none'}.")
    return client.get_model_version(name, number)  # searches leave the aliases out


def tag(client: MlflowClient, version: ModelVersion, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, value)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def promote(
    client: MlflowClient, name: str, approver: str | None = None, override: str | None = None, run: str | None = None
) -> Promotion:
    """Make the challenger champion, if its decision says so and was taken against the champion of today.

    ``override`` is a person's reason to promote in spite of the decision. Doing it twice changes nothing the second
    time, unless it is the same ``run`` that does it: killed before it could tell of the change, it tells of it again.
    Raises ``BadData`` if there is no challenger.
    """
    challenger, champion = _contenders(client, name)
    number = str(challenger.version)
    former = str(champion.version) if champion else None
    if former == number:
        return already(challenger, run)
    obstacle = None if override else _obstacle(challenger, former)
    if obstacle:
        return Promotion(champion=former, former=former, changed=False, reason=obstacle)
    reason = f"Promoted against the decision: {override}" if override else challenger.tags[REASONS]
    # Tags come before the alias: killed in between, the next attempt still knows the former champion.
    tags = {PROMOTED: now(), FORMER: former or "", MOVED_BY: run or ""} | ({APPROVER: approver} if approver else {})
    tag(client, challenger, tags | ({REASONS: reason} if override else {}))
    if WITHDRAWN in challenger.tags:
        client.delete_model_version_tag(name, number, WITHDRAWN)
    client.set_registered_model_alias(name, CHAMPION, number)
    return Promotion(champion=number, former=former, changed=True, reason=reason)


def already(champion: ModelVersion, run: str | None) -> Promotion:
    """What is to tell of a version that is in charge: a change if ``run`` itself put it there, else none."""
    number, changed = str(champion.version), bool(run) and champion.tags.get(MOVED_BY) == run
    former = champion.tags.get(FORMER) or None if changed else None
    reason = f"Version {number} is champion already" + (", put there by this run." if changed else ".")
    return Promotion(champion=number, former=former, changed=changed, reason=reason)


def reject(client: MlflowClient, name: str, rejecter: str) -> Promotion:
    """Write on the challenger that ``rejecter`` refused it, whatever its decision was; the champion stays.

    Raises ``BadData`` if there is no challenger, or if it is champion already.
    """
    challenger, champion = _contenders(client, name)
    former = str(champion.version) if champion else None
    if former == str(challenger.version):
        raise BadData(f"Version {former} is champion already; put a former one in charge with `swath model rollback`.")
    reason = f"Rejected by {rejecter}."
    before = [line for line in challenger.tags.get(REASONS, "").splitlines() if line != reason]
    tag(client, challenger, {REJECTER: rejecter, REASONS: "\n".join([*before, reason]), DECISION: "refuse"})
    return Promotion(champion=former, former=former, changed=False, reason=f"Version {challenger.version}: {reason}")


def _contenders(client: MlflowClient, name: str) -> tuple[ModelVersion, ModelVersion | None]:
    challenger = holder(client, name, CHALLENGER)
    if challenger is None:
        raise BadData(f"{name} has no challenger; register a model with `swath model register` first.")
    return challenger, holder(client, name, CHAMPION)


def _obstacle(challenger: ModelVersion, champion: str | None) -> str | None:
    number, verdict = challenger.version, challenger.tags.get(DECISION)
    if verdict is None:
        return f"Version {number} has not been judged; run `swath model gate` first."
    if why := challenger.tags.get(WITHDRAWN):
        return f"Version {number} was taken out of charge: {why}"
    if verdict != "promote":
        return f"Version {number} was refused: {challenger.tags.get(REASONS, 'no reason is on record')}"
    if challenger.tags.get(AGAINST, "") != (champion or ""):
        return (
            f"Version {number} was judged against version {challenger.tags.get(AGAINST) or 'none'}, but version "
            f"{champion or 'none'} is champion now; run `swath model gate` again."
        )
    return None
