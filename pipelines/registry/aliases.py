"""The two aliases of a registered model, the tags that its versions carry, and finding versions by them."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

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
IN_CHARGE = "swath.in_charge"  # commit of the record that put it in charge, once the alias has followed
CHAIN = "swath.decision.chain"  # commit of the last record about the version
WITHDRAWN = "swath.withdrawn_because"  # only versions that a rollback took out of charge have it


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
