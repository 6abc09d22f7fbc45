"""DVC's cache on this machine: what the remote has too is a copy."""

from __future__ import annotations

import os
import time
from pathlib import Path

import fsspec

from pipelines.config import settings
from pipelines.upkeep.halves import DAY


def remove_cached(days: int) -> int:
    """Remove objects that came more than ``days`` ago, that the remote has too, and that no workspace links to.

    A stage that needs one brings it again. Returns how many went.
    """
    here = settings()
    cache = here.dvc_cache / "files" / "md5"
    old = [path for path in cache.glob("[0-9a-f][0-9a-f]/*") if path.stat().st_mtime < time.time() - days * DAY]
    if not old:
        return 0
    system, remote = fsspec.core.url_to_fs(here.dvc_remote)
    linked = _linked(here.home / "workspaces")
    gone = 0
    for path in old:
        copy = f"{remote}/files/md5/{path.parent.name}/{path.name}"
        if path.resolve() not in linked and system.exists(copy) and system.size(copy) == path.stat().st_size:
            path.unlink()
            gone += 1
    return gone


def _linked(workspaces: Path) -> set[Path]:
    """What symbolic links in workspaces lead to; where DVC could make hard links these keep the bytes themselves."""
    found = set()
    for top, folders, files in os.walk(workspaces):
        found |= {path.resolve() for name in (*folders, *files) if (path := Path(top, name)).is_symlink()}
    return found
