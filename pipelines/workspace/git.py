"""Calling git, with its own words in the error."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from pipelines.errors import SwathError

AUTHOR = "Swath pipeline"
EMAIL = "pipeline@swath.invalid"

_HELD = 3.0  # seconds; git holds a lock of ours for milliseconds

# A server that says nothing is given up after a minute: whoever asks may hold a lock that others wait for. Of ssh that
# is left to its own configuration, which people need for keys.
_PATIENCE = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"}  # bytes a second, seconds

# What git tells its hooks and aliases of the repository that they are in: under it, git works on that one wherever it
# is started, and a mirror that is pruned would be somebody's checkout.
ELSEWHERE = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)

# The pipeline's commits carry its own name, whoever's account it runs under; the watcher ignores them by it.
IDENTITY = {
    "GIT_AUTHOR_NAME": AUTHOR,
    "GIT_AUTHOR_EMAIL": EMAIL,
    "GIT_COMMITTER_NAME": AUTHOR,
    "GIT_COMMITTER_EMAIL": EMAIL,
}


def git(*arguments: str, at: Path, env: dict[str, str] | None = None) -> str:
    """Run git in ``at`` and return its standard output, stripped. Raises ``SwathError`` with what git said."""
    inherited = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    done = subprocess.run(
        ["git", *arguments],
        cwd=at,
        env=_PATIENCE | inherited | IDENTITY | {"GIT_TERMINAL_PROMPT": "0"} | (env or {}),
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # names of files and people need not be UTF-8
    )
    if done.returncode != 0:
        raise SwathError(f"git {' '.join(arguments)} failed in {at}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def clear_dead_locks(bare: Path) -> None:
    """Remove the locks that a git which was killed has left in our own repository ``bare``: git itself never does, and
    refuses all further work. Whoever calls keeps other processes out; a git that outlives its caller is waited for.
    """
    for lock in (*bare.glob("*.lock"), *(bare / "refs").rglob("*.lock")):
        with suppress(FileNotFoundError):
            while time.time() - lock.stat().st_mtime < _HELD:
                time.sleep(0.1)
            lock.unlink()


def is_repository(folder: Path) -> bool:
    """Whether ``folder`` itself is the top of a git work tree, and not merely inside one."""
    return (folder / ".git").exists()
