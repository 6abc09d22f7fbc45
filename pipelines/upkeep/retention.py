"""What may go after a while: folders of finished or dead runs, logs, notices, and copies that can be had again.

What stays for ever is what was made and decided: scenes, maps of the champion, dataset versions, models, decisions.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipelines.config import Settings, settings
from pipelines.depot import bring
from pipelines.depot.retention import forget, written
from pipelines.files import read_json
from pipelines.upkeep.halves import DAY, halves
from pipelines.workspace.workspace import close_workspace

LONGEST_RUN = 3  # days: a training may take two, and a person one to approve it
_LOG = 20_000_000  # bytes that are kept of a service's log, its end


def remove_stale(days: int) -> dict[str, int]:
    """Remove what was last touched more than ``days`` ago; returns how many of each kind went."""
    here = settings()
    at_work = max(days, LONGEST_RUN)  # younger ones may be at work
    kinds: dict[str, tuple[Iterable[Path], int]] = {
        "training checkpoints": (here.home.glob("training/*"), at_work),
        "staging of scenes": (here.catalog.glob("*/staging/*"), at_work),
        "staging of maps": (here.predictions.glob("*/staging/*"), at_work),
        "half-written": (halves(here, at_work), at_work),
        "progress": (here.home.glob("progress/*"), at_work),
        "scratch folders": (here.home.glob("scratch/*"), at_work),
        "results of stages": (here.home.glob("stages/*"), days),
        "bundles": (here.home.glob("bundles/[!.]*"), days),
        "notices": (here.home.glob("notices/*.json"), days),
        "files of the page": (here.home.glob("atlas/*/*"), days),
        "logs of runs": (_logs().glob("dag_id=*/run_id=*"), days),
        "logs of parsing": (_logs().glob("dag_processor/[0-9]*"), days),
    }
    gone = {
        kind: sum(map(_remove, [path for path in paths if _is_old(path, age)])) for kind, (paths, age) in kinds.items()
    }
    gone["reports of drift"] = sum(map(_remove, _reports(here, days)))
    gone["workspaces"] = _close(here, at_work)
    gone["logs shortened"] = sum(map(_shorten, here.home.glob("logs/*.log")))
    for folder in (here.home / "atlas", _logs()):
        _remove_empty(folder)
    return gone | forget(time.time() - at_work * DAY, time.time() - days * DAY) if here.store else gone


def _reports(here: Settings, days: int) -> list[Path]:
    """Old runs of the watch, but for the newest of each project and those that called for a training."""
    bring(here.reports, at_once=("/verdict.json",))
    found = []
    for drift in here.reports.glob("*/drift"):
        runs = sorted(drift.glob("[!.]*/"), key=lambda run: (_decided(run), run.name))
        found += [run for run in runs[:-1] if _decided(run) < time.time() - days * DAY and not _called(run)]
    return found


def _decided(run: Path) -> float:
    """When the watch came to its end, or wrote last. In a view of the store its folder is always new."""
    verdict, here = run / "verdict.json", settings()
    if verdict.exists():
        return verdict.stat().st_mtime
    return written(f"reports/{run.relative_to(here.reports).as_posix()}") if here.store else _touched(run)


def _called(run: Path) -> bool:
    verdict = run / "verdict.json"
    return verdict.exists() and bool(read_json(verdict).get("retrain"))


def _logs() -> Path:
    """Of tasks and of the dag-processor on the embedded system; in compose those of tasks go to the store."""
    return Path(os.environ.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER") or settings().home / "logs" / "tasks")


def _close(here: Settings, days: int) -> int:
    left = [path for path in here.home.glob("workspaces/[!.]*") if _is_old(path, days)]
    for path in left:
        close_workspace(path.name)
    locks = [lock for lock in here.home.glob("workspaces/.*.lock") if _is_old(lock, days)]
    return len(left) + sum(map(_remove, locks))


def _shorten(log: Path) -> int:
    """Keep the end of a log that a service goes on appending to."""
    size = log.stat().st_size
    if size <= _LOG:
        return 0
    with log.open("r+b") as stream:
        stream.seek(-_LOG // 2, os.SEEK_END)
        stream.readline()
        end = stream.read()
        stream.seek(0)
        stream.truncate()
        stream.write(end)
    return 1


def _is_old(path: Path, days: float) -> bool:
    return _touched(path) < time.time() - days * DAY


def _touched(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime
    return time.time()


def _remove(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return 1


def _remove_empty(folder: Path) -> None:
    for path in folder.glob("*/"):
        with suppress(OSError):  # it holds something
            path.rmdir()
