"""Which code runs here."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.lineage.revision import REVISION

_HOME = Path(__file__).resolve().parents[2]


class Code(BaseModel):
    """The code of a process. ``None`` where it is not known, as in a package installed without its repository."""

    model_config = ConfigDict(frozen=True)

    version: str  # of the package
    commit: str | None
    edited: bool | None  # whether ``pipelines/`` differs from that commit


def code() -> Code:
    """The code that this process runs, which is that of its own folder, wherever it was started."""
    commit = edited = None
    if (_HOME / ".git").exists():  # and not a repository that this one is installed somewhere below
        commit = os.environ.get(REVISION) or _git("rev-parse", "HEAD")
        status = _git("status", "--porcelain", "--", "pipelines")
        edited = None if status is None else bool(status)
    return Code(version=_version(), commit=commit, edited=edited)


def _version() -> str:
    try:
        return version("swath")
    except PackageNotFoundError:
        return "unknown"


def _git(*arguments: str) -> str | None:
    asked = subprocess.run(["git", *arguments], cwd=_HOME, capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else None
