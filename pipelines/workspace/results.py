"""What each stage gave, in the store: no worker runs what another one has run already."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from pipelines.config import settings
from pipelines.depot.store import store
from pipelines.files import write_json

_MEANT = ("cmd", "deps", "params")  # what an entry of dvc.lock says of a stage beside its outputs


def find(key: str) -> dict[str, Any] | None:
    """The entry of ``dvc.lock`` that a stage with this ``key`` got last on any machine; ``None`` without a store."""
    if settings().store is None or (body := store().read(_name(key))) is None:
        return None
    return dict(json.loads(body))


def keep(key: str, entry: dict[str, Any]) -> None:
    """Let other machines find ``entry``, whose outputs are in the DVC remote."""
    if settings().store is None:
        return
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "entry.json"
        write_json(file, entry)
        store().put(file, _name(key))


def same(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    """Whether two entries are of the same command on the same parameters and data."""
    return one is not None and all(one.get(word) == other.get(word) for word in _MEANT)


def _name(key: str) -> str:
    return f"stages/{key}.json"
