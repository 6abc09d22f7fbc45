"""What a push of a revision would run and what it would reuse, before anything runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from pipelines.errors import SwathError
from pipelines.workspace.changes import relevant_changes
from pipelines.workspace.release import TRAINING_STAGES, released_lock, released_source, released_tip
from pipelines.workspace.source import resolve
from pipelines.workspace.stage import add_lock, definition, key
from pipelines.workspace.workspace import close_workspace, open_workspace

_RUN = "plan"  # name of the workspaces, which go again; each process has its own


class Forecast(BaseModel):
    """Compared with the project's last dataset version, of which ``since`` is the source; ``None`` before the first.

    ``reuses`` holds as long as the catalog does not change: new scenes on labelled ground make a new dataset.
    """

    model_config = ConfigDict(frozen=True)

    revision: str
    project: str
    since: str | None
    files: tuple[str, ...]  # that changed and that the watcher of the branch starts a build for
    builds: bool  # whether there are any
    runs: tuple[str, ...]  # stages that a build and the training after it run, in order
    reuses: tuple[str, ...]
    trains: Literal["yes", "no", "if the data differ"]
    missing: tuple[str, ...]  # tracked by DVC, and not in its remote yet: the build would wait for them, then fail


def forecast(revision: str | None) -> Forecast:
    """Of a branch, tag or commit; of the watched branch if ``None``. Raises ``BadData`` where there is none such."""
    commit = resolve(revision)
    name = f"{_RUN}.{os.getpid()}.new"
    try:
        return _compared(open_workspace(name, commit), commit)
    finally:
        close_workspace(name)


def _compared(workspace: Path, commit: str) -> Forecast:
    project = str(yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))["project"])
    tip, lock = released_tip(project), released_lock(project)
    since = released_source(tip) if tip else None
    files = relevant_changes(since, commit) if since else _all_relevant(workspace)
    add_lock(workspace, lock)
    stages = list(yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    changed = _changed(workspace, stages, tip) if tip else set(stages)
    labels = {stage for stage in stages if definition(workspace, stage).get("always_changed")}
    if any(file.startswith("labels/") for file in files):
        changed |= labels
    runs = _with_later(workspace, stages, changed)
    training = set(TRAINING_STAGES) & set(stages)
    return Forecast(
        revision=commit,
        project=project,
        since=since,
        files=tuple(files),
        builds=bool(files),
        runs=tuple(stage for stage in stages if stage in runs),
        reuses=tuple(stage for stage in stages if stage not in runs),
        trains="yes" if training & changed else "if the data differ" if training & runs else "no",
        missing=tuple(_missing(workspace)),
    )


def _changed(workspace: Path, stages: list[str], tip: str) -> set[str]:
    """Stages whose command, parameters, code or tracked inputs are others than in the version ``tip``."""
    name = f"{_RUN}.{os.getpid()}.old"
    try:
        former = open_workspace(name, tip)
        known = set(yaml.safe_load((former / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
        return {s for s in stages if s not in known or key(workspace, s) != key(former, s)}
    finally:
        close_workspace(name)


def _with_later(workspace: Path, stages: list[str], first: set[str]) -> set[str]:
    """``first`` and all stages that read what these write; ``dvc.yaml`` lists a stage after those it depends on."""
    runs: set[str] = set()
    written: set[str] = set()
    for stage in stages:
        wanted = definition(workspace, stage)
        reads = [dep for dep in wanted.get("deps", []) if any(Path(dep).is_relative_to(out) for out in written)]
        if stage in first or reads:
            runs.add(stage)
            written |= {out if isinstance(out, str) else next(iter(out)) for out in wanted.get("outs", [])}
    return runs


def _all_relevant(workspace: Path) -> list[str]:
    tracked = (path.relative_to(workspace).as_posix() for path in workspace.glob("labels/**/*.dvc"))
    return sorted(
        [name for name in ("params.yaml", "dvc.yaml", "dvc.lock") if (workspace / name).exists()] + [*tracked]
    )


def _missing(workspace: Path) -> list[str]:
    """Files that people track below labels/ whose content neither the remote nor this installation's cache has."""
    tracked = [str(path.relative_to(workspace)) for path in workspace.glob("labels/**/*.dvc")]
    if not tracked:
        return []
    command = [sys.executable, "-m", "dvc", "status", "--cloud", "--json", *tracked]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    if done.returncode != 0:
        raise SwathError(f"The DVC remote cannot be asked what it has: {done.stderr.strip()}")
    return sorted(path for path, state in json.loads(done.stdout).items() if state == "missing")
