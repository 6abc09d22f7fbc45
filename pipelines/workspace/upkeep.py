"""What may go after a while: folders of finished or dead runs, notices, and copies that can be had again."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from pipelines.config import settings

_DAY = 86_400


def remove_stale(days: int) -> dict[str, int]:
    """Remove what was last touched more than ``days`` ago; returns how many of each kind went."""
    here = settings()
    kinds = {
        "workspaces": here.home.glob("workspaces/*"),
        "training checkpoints": here.home.glob("training/*"),
        "bundles": here.home.glob("bundles/*"),
        "notices": here.home.glob("notices/*"),
        "progress": here.home.glob("progress/*"),
        "scratch folders": here.home.glob("scratch/*"),
        "files of the page": here.home.glob("atlas/*/*"),
        "staging of scenes": here.catalog.glob("*/staging/*"),
        "staging of maps": here.predictions.glob("*/staging/*"),
    }
    limit = time.time() - days * _DAY
    return {kind: sum(_remove(path) for path in list(paths) if _touched(path) < limit) for kind, paths in kinds.items()}


def _touched(path: Path) -> float:
    return path.lstat().st_mtime


def _remove(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return 1
