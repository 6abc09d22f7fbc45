"""Scenes set aside: one small file each, with the reason."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.scenes.candidate import safe_id

log = logging.getLogger(__name__)


class Quarantined(BaseModel):
    """Why a scene is not in the catalog. It is tried again when its ``fingerprint`` changes."""

    model_config = ConfigDict(frozen=True)

    id: str
    source: str
    stage: str  # search, fetch or validate
    reason: str
    fingerprint: str
    when: datetime
    checks: str = ""  # digest of the limits that it failed, where it failed those


def put(catalog: Path, *, id: str, source: str, stage: str, reason: str, fingerprint: str, checks: str = "") -> None:
    """Record a scene's failure; saying the same twice leaves the first record as it is."""
    target = record_path(catalog, id)
    record = Quarantined(
        id=id,
        source=source,
        stage=stage,
        reason=reason,
        fingerprint=fingerprint,
        when=datetime.now(UTC),
        checks=checks,
    )
    if target.exists():
        former = _read(target)
        if former.model_copy(update={"when": record.when}) == record:
            return
    log.warning("%s goes to quarantine: %s", id, reason)
    write_json(target, record.model_dump(mode="json"))


def records(catalog: Path) -> list[Quarantined]:
    """All scenes in quarantine, by the names of their files."""
    return [_read(path) for path in sorted((catalog / "quarantine").glob("*.json"))]


def _read(path: Path) -> Quarantined:
    try:
        return Quarantined.model_validate(read_json(path))
    except ValueError as error:
        raise BadData(f"{path} is no record of the quarantine ({error}); remove it.") from error


def lift(catalog: Path, id: str) -> None:
    """Take ``id`` out of quarantine: a later version of it is in the catalog."""
    record_path(catalog, id).unlink(missing_ok=True)


def lift_again(catalog: Path, ids: Collection[str]) -> None:
    """Forget why those of ``ids`` that are in quarantine are there, so that they are tried though nothing changed."""
    for record in records(catalog):
        if record.id in ids:
            log.info("%s is tried again; it was in quarantine: %s", record.id, record.reason)
            lift(catalog, record.id)


def lift_mended(catalog: Path, offered: Collection[str], refused: Collection[str]) -> None:
    """Forget what was refused before anything was fetched where its source, one of ``offered``, is taken by now.

    That is so where nothing with its fingerprint is among the ``refused``; the id may be another than it was then.
    """
    for record in records(catalog):
        if record.stage == "search" and record.source in offered and record.fingerprint not in refused:
            lift(catalog, record.id)


def lift_unlike(catalog: Path, checks: str) -> None:
    """Forget what failed other limits than those of the digest ``checks``, so that it is held against the present."""
    for record in records(catalog):
        if record.stage == "validate" and record.checks != checks:
            log.info("%s is tried again, since scenes.checks changed; it failed: %s", record.id, record.reason)
            lift(catalog, record.id)


def record_path(catalog: Path, id: str) -> Path:
    """Where it is told why scene ``id`` is in quarantine, if it is."""
    try:
        name = safe_id(id)
    except BadData:  # a hostile id still gets its file, under a name of our own
        name = re.sub(r"[^A-Za-z0-9]+", "-", id)[:60].strip("-") + "-" + hashlib.sha256(id.encode()).hexdigest()[:12]
    return catalog / "quarantine" / f"{name}.json"
