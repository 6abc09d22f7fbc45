"""Back to a former champion, after seeing that it still loads and predicts."""

from __future__ import annotations

import logging

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from pipelines.bundle.store import Bundle, open_bundle
from pipelines.errors import BadData
from pipelines.evaluation.tracking import store
from pipelines.inference.arrays import host
from pipelines.inference.runtime import Runtime
from pipelines.inference.windows import SIDE
from pipelines.lineage.run import triggered_by
from pipelines.registry import aliases, record
from pipelines.registry.promotion import Promotion, already
from pipelines.registry.record import Record, Tags

log = logging.getLogger(__name__)


def rollback(name: str, reason: str, number: str | None = None, run: str | None = None) -> Promotion:
    """Put version ``number`` of the model ``name`` in charge again, or else the latest former champion.

    The version that is taken out of charge is marked with ``reason``, and the gate refuses it from then on. The
    same ``run`` doing it again tells of the change again. Raises ``BadData`` if the version was never champion, or no
    longer loads or predicts, ``SwathError`` if the decision cannot be recorded.
    """
    if not reason.strip():
        raise BadData("A rollback needs a reason, for whoever finds it later; give one with --reason.")
    with store() as client:
        record.finish(client, name)
        current = aliases.holder(client, name, aliases.CHAMPION)
        if current is None:
            raise BadData(f"{name} has no champion yet, so there is nothing to roll back.")
        if number is None and run and current.tags.get(aliases.MOVED_BY) == run:
            return already(current, run)  # or the latest former one would now be the one taken out of charge
        version = aliases.version(client, name, number) if number else _latest_former(client, name, current)
        if str(version.version) == str(current.version):
            return already(current, run)
        if aliases.PROMOTED not in version.tags:
            raise BadData(f"Version {version.version} of {name} was never champion; see `swath model list`.")
        if forged := _forged(version):
            raise BadData(forged)
        prove(open_bundle(f"models:/{name}/{version.version}"))
        when = record.now()
        restored: Tags = {aliases.RESTORED: when.isoformat(), aliases.RESTORED_WHY: reason}
        restored |= {aliases.FORMER: str(current.version), aliases.MOVED_BY: run or ""}
        restored |= {aliases.WITHDRAWN: None} if aliases.WITHDRAWN in version.tags else {}
        withdrawn: Tags = {aliases.WITHDRAWN: f"{reason} ({when.isoformat()})"}
        record.move(
            client,
            name,
            Record(
                kind="restored",
                version=str(version.version),
                before=str(current.version),
                after=str(version.version),
                reasons=(reason,),
                who=triggered_by() if run else record.person(),
                run=run,
                when=when,
                changes=(record.change(version, restored), record.change(current, withdrawn)),
            ),
        )
        log.info("Version %s is champion again instead of %s: %s", version.version, current.version, reason)
        return Promotion(champion=str(version.version), former=str(current.version), changed=True, reason=reason)


def prove(bundle: Bundle) -> None:
    """Raise ``BadData`` unless the bundle answers for a small window of what it was trained on as its task does."""
    contract = bundle.contract
    statistics = contract.statistics
    noise = np.random.default_rng(0).normal(size=(2, len(contract.bands), 2 * SIDE, 2 * SIDE))
    pixels = (noise * statistics.stds[:, None, None] + statistics.means[:, None, None]).astype(np.float32)
    answer = host(Runtime(bundle)(pixels))
    expected: tuple[int, ...] = (2, len(contract.classes), 2 * SIDE, 2 * SIDE)
    if contract.task == "detection":  # each place a box and the classes' scores, as many places as it likes
        expected = (2, answer.shape[1], 4 + len(contract.classes)) if answer.ndim == 3 else (2,)
    if answer.shape != expected:
        raise BadData(f"{bundle.name} loads but answers with the shape {answer.shape}; choose another version.")
    if not np.isfinite(answer).all():
        raise BadData(f"{bundle.name} loads but its answers are not finite; choose another version.")


def _forged(version: ModelVersion) -> str | None:
    """What its records say against a tag that calls ``version`` a former champion; old versions have no records."""
    kept, _ = record.records(version.name)
    about = [each for each in kept if each.about(str(version.version), version.run_id)]
    if not about or any(each.record.after == str(version.version) for each in about):
        return None
    return (
        f"MLflow calls version {version.version} of {version.name} a former champion, and none of its {len(about)} "
        "records does; find out who tagged it."
    )


def _latest_former(client: MlflowClient, name: str, current: ModelVersion) -> ModelVersion:
    former = [
        version
        for version in aliases.versions(client, name)
        if version.version != current.version
        and aliases.PROMOTED in version.tags
        and aliases.WITHDRAWN not in version.tags
    ]
    if not former:
        raise BadData(f"{name} has no former champion to return to; promote another version instead.")
    return max(former, key=_last_in_charge)


def _last_in_charge(version: ModelVersion) -> str:
    """When it was promoted or restored last, as ISO text."""
    return str(max(version.tags[aliases.PROMOTED], version.tags.get(aliases.RESTORED, "")))
