"""What killed processes leave behind: locks, workspaces, half-written files."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from pipelines.config import Settings
from pipelines.doctor.finding import Finding, fault, fine, warning
from pipelines.upkeep.halves import DAY, halves

_RUN_DAYS = 3  # a training may take two, and a person a day to approve it


def held_locks(files: Iterable[Path]) -> list[Finding]:
    """Files of `pipelines.files.alone` that are locked by what a process, itself gone, has left running.

    The system lets go of a lock when the last process that has it open ends, so a lock by itself is no fault: whoever
    holds it is at work. Looked up rather than tried, since to try is to hold it for a moment.
    """
    held = _holders()
    takers = {file: held[inode] for file in files if (inode := _inode(file)) in held}
    findings = [
        fault(
            "Locks",
            f"{file} was locked by process {taker}, which is gone; a child of it still runs and keeps the lock.",
            f"Find it with `fuser {file}` and end it.",
        )
        for file, taker in takers.items()
        if taker > 0 and not psutil.pid_exists(taker)  # 0: of another container
    ]
    return findings or [fine("Locks", f"{len(takers)} held, by processes at work" if takers else "none is held")]


def dvc_locks(workspaces: Iterable[Path]) -> list[Finding]:
    """Entries of DVC's list of who reads and writes, whose process number is now that of something else.

    Entries of processes that are gone DVC takes away by itself.
    """
    findings = []
    for workspace in workspaces:
        path = workspace / ".dvc" / "tmp" / "rwlock"
        if not path.is_file():
            continue
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            ways = [kept.get("write", {}).values(), *kept.get("read", {}).values()]
            stale = {int(one["pid"]) for way in ways for one in way if _is_another(int(one["pid"]))}
        except (ValueError, KeyError, TypeError, AttributeError):
            findings.append(fault("DVC locks", f"{path} is no list of locks; DVC refuses to go on.", f"rm {path}"))
            continue
        for pid in sorted(stale):
            what = f"{path} names process {pid}, which is not DVC; the stage waits for it in vain."
            findings.append(fault("DVC locks", what, f"rm {path}"))
    return findings or [fine("DVC locks", "none is left")]


def orphans(workspaces: Path) -> list[Finding]:
    """Workspaces that are older than any run."""
    limit = time.time() - _RUN_DAYS * DAY
    left = [path.name for path in workspaces.glob("[!.]*") if path.lstat().st_mtime < limit]
    if not left:
        return [fine("Workspaces", "none is left behind")]
    what = f"{len(left)} in {workspaces} are older than {_RUN_DAYS} days, such as {left[0]}."
    return [warning("Workspaces", what, f"`swath maintain --days {_RUN_DAYS}` removes them.")]


def half_written(here: Settings) -> list[Finding]:
    """Drafts that nobody has gone on with for a day. They are in nobody's way and take room."""
    if not (left := halves(here, 1)):
        return [fine("Half-written", "nothing is left")]
    what = f"{len(left)} files and folders of killed tasks, such as {left[0]}."
    return [
        warning(
            "Half-written", what, "`swath maintain --days 7` removes those of a week ago; a map is taken up from there."
        )
    ]


def _holders() -> dict[int, int]:
    """Inode and process of every lock, as Linux tells; elsewhere none is known."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
        return {int(words[5].rpartition(":")[2]): int(words[4]) for words in lines if words[1] == "FLOCK"}
    return {}


def _inode(file: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_ino
    return None


def _is_another(pid: int) -> bool:
    try:
        return "dvc" not in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
