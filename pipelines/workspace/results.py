"""What each stage gave, by what decides it: no worker runs what another one has run, and none what it ran before."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines.config import settings
from pipelines.depot.store import store
from pipelines.files import read_json, write_json

_DAY = 86_400  # seconds
_MEANT = ("cmd", "deps", "params")  # what an entry of dvc.lock says of a stage beside its outputs


def find(key: str) -> dict[str, Any] | None:
    """The entry of ``dvc.lock`` that a stage with this ``key`` got last: on any machine, where there is a store."""
    if settings().store is not None:
        name = f"stages/{key}.json"
        body, there = store().read(name), store().one(name)
        if body is None:
            return None
        entry = dict(json.loads(body))
        if there is not None and there.modified < time.time() - _DAY:
            keep(key, entry)  # what is asked for is not yet old
        return entry
    file = _file(key)
    if not file.exists():
        return None
    os.utime(file)  # what is asked for is not yet old
    return dict(read_json(file))


def keep(key: str, entry: dict[str, Any]) -> None:
    """Let ``entry``, whose outputs are in the DVC remote, be found."""
    if settings().store is None:
        write_json(_file(key), entry)
        return
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "entry.json"
        write_json(file, entry)
        store().put(file, f"stages/{key}.json")


def same(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    """Whether two entries are of the same command on the same parameters and data."""
    return one is not None and all(one.get(word) == other.get(word) for word in _MEANT)


def _file(key: str) -> Path:
    return settings().home / "stages" / f"{key}.json"
