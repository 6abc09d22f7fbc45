"""The code commit and the dataset hash of the folder in which a stage runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

REVISION = "SWATH_REVISION"


class Revision(BaseModel):
    """What a model or map was made from. ``None`` where it is not known, as outside git."""

    model_config = ConfigDict(frozen=True)

    commit: str | None
    dataset: str | None  # DVC's hash of data/chips


def revision(folder: Path = Path()) -> Revision:
    """The revision of ``folder``; ``SWATH_REVISION`` overrides the commit."""
    return Revision(commit=os.environ.get(REVISION) or _head(folder), dataset=output_hash("data/chips", folder))


def output_hash(output: str, folder: Path = Path()) -> str | None:
    """DVC's hash of an output, from ``dvc.lock``; ``None`` where no stage has made it yet."""
    lock = Path(folder) / "dvc.lock"
    if not lock.exists():
        return None
    stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
    for stage in stages.values():
        for out in stage.get("outs", []):
            if out["path"] == output:
                return str(out["md5"])
    return None


def _head(folder: Path) -> str | None:
    if not (Path(folder) / ".git").exists():  # nor take that of a repository that this folder only lies somewhere below
        return None
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else None
