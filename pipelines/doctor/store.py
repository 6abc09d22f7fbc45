"""The store of scenes, maps and reports: does it keep what is written, and refuse what would overwrite unseen?"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from pipelines.config import settings
from pipelines.depot.store import Conflict, Stored, store
from pipelines.doctor.finding import Finding, fault, fine, skipped
from pipelines.errors import SwathError

_NAME = "Store"
_ADDRESS = "Check SWATH_STORE, AWS_ENDPOINT_URL and the credentials, and that the bucket exists and is yours."
_CONDITIONS = (
    "Take a store that heeds If-Match and If-None-Match (AWS S3, MinIO, SeaweedFS 4, Ceph): elsewhere two workers that "
    "write one catalog lose scenes."
)


def kept() -> list[Finding]:
    """A small object is written, read and removed, and a second writer of the same is refused."""
    if settings().store is None:
        return [skipped(_NAME, "SWATH_STORE is not set; scenes, maps and reports lie in folders")]
    key = f".doctor/{secrets.token_hex(8)}.json"
    try:
        place = store()
        with tempfile.TemporaryDirectory() as scratch:
            ours, theirs = Path(scratch, "ours"), Path(scratch, "theirs")
            ours.write_text("1")
            theirs.write_text("2")
            try:
                first = place.exchange(ours, key, None)
                second = place.put(theirs, key)
                if place.read(key) != b"2":
                    return [fault(_NAME, f"{place.address} gave back other bytes than were written.", _ADDRESS)]
                heeded = [_refused(ours, key, former) for former in (None, first)]
                changed = place.one(key)
            finally:
                place.delete([key])
    except SwathError as error:
        return [fault(_NAME, str(error), _ADDRESS)]
    if not all(heeded) or changed is None or changed.etag != second.etag:
        return [fault(_NAME, f"{place.address} overwrites an object that has changed since it was read.", _CONDITIONS)]
    return [fine(_NAME, f"{place.address} can be written and read, and overwrites nothing unseen")]


def _refused(source: Path, key: str, former: Stored | None) -> bool:
    try:
        store().exchange(source, key, former)
    except Conflict:
        return True
    return False
