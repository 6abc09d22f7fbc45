"""What a killed process leaves half-written: drafts of `pipelines.files.replacing`, rows of maps, DVC's own drafts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.config import Settings
from pipelines.workspace.objects import drafts

DAY = 86_400  # seconds
_DRAFT = re.compile(r"\..+\.(\d+|work|tmp)")  # .work holds the rows of a map, .tmp what DVC copies


def halves(here: Settings, days: float) -> list[Path]:
    """Files and folders that nothing has touched for ``days``, so that nobody is still at work on them."""
    limit = time.time() - days * DAY
    return sorted(path for path in _candidates(here) if _DRAFT.fullmatch(path.name) and _touched(path) < limit)


def _candidates(here: Settings) -> Iterator[Path]:
    for folder in {
        here.home,
        *(here.home / name for name in ("airflow", "bundles", "notices", "progress", "stages", "training")),
    }:
        yield from folder.glob(".*")
    for pattern in ("workspaces/.*", "atlas/*/.*", "atlas/*/*/.*"):
        yield from here.home.glob(pattern)
    for store in (here.dvc_cache, Path(here.dvc_remote)):  # one in a bucket keeps no halves
        yield from drafts(store)
    for pattern in ("*/.*", "*/scenes/.*", "*/quarantine/.*"):
        yield from here.catalog.glob(pattern)
    for pattern in ("*/.*", "*/v*/.*", "*/v*/failed/.*"):
        yield from here.predictions.glob(pattern)
    for pattern in ("*/.*", "*/drift/.*", "*/drift/*/.*"):
        yield from here.reports.glob(pattern)


def _touched(path: Path) -> float:
    """When anything in the folder, two levels down, was last written; a draft is held in a folder of its own."""
    try:
        return max(one.lstat().st_mtime for one in (path, *path.glob("*"), *path.glob("*/*")))
    except FileNotFoundError:  # renamed to where it belongs meanwhile
        return time.time()
