"""Revisions, workspaces and dataset versions: what Airflow starts every other command through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.result import RESULT_FILE, emit
from pipelines.config import load_params, settings
from pipelines.depot import bring as bring_scenes
from pipelines.files import read_json
from pipelines.lineage.revision import REVISION, revision
from pipelines.workspace.forecast import forecast
from pipelines.workspace.release import release, released_lock, released_revision
from pipelines.workspace.source import pin, resolve, resolve_newest
from pipelines.workspace.stage import LOCK, add_lock, bring, reproduce
from pipelines.workspace.workspace import close_workspace, environment, open_workspace

app = typer.Typer()

Run = Annotated[str, typer.Option(help="Name of the run, and of its workspace.")]
AtRevision = Annotated[
    str | None,  # a command that `at` runs works at the commit that `at` was given
    typer.Option(envvar=REVISION, help="Branch, tag, commit or DVC experiment; the watched branch if left out."),
]
LockEntries = Annotated[str, typer.Option(envvar=LOCK, help="JSON: dvc.lock entries of the run's stages so far.")]
_TOLD = 50  # findings that a task's result holds; Airflow keeps it in its database
Needs = Annotated[list[str] | None, typer.Option(help="Output of a stage that the command reads; may be repeated.")]


@app.command("pin")
def pin_command(config: Annotated[Path | None, typer.Option(help="Overlay of params.yaml.")] = None) -> None:
    """Make the working tree a commit on a hidden ref, so that a run of it can be named and repeated."""
    emit(pin(Path.cwd(), config).model_dump())


@app.command("at", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def at_command(
    context: typer.Context,
    run: Run,
    revision: AtRevision = None,
    newest: Annotated[bool, typer.Option("--newest", help="What its branch has come to since.")] = False,
    released: Annotated[bool, typer.Option("--released", help="Its dataset version, not the revision itself.")] = False,
    need: Needs = None,
    lock: LockEntries = "{}",
) -> None:
    """Run another swath command in the run's workspace at a revision: swath at --run R --revision V -- COMMAND..."""
    if newest and revision:
        revision = resolve_newest(revision)
    commit = released_revision(revision, exact=not newest) if released else resolve(revision)
    workspace = open_workspace(run, commit)
    add_lock(workspace, json.loads(lock))
    bring(workspace, need or [])
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "result.json"
        done = subprocess.run(
            [sys.executable, "-m", "pipelines", *context.args],
            cwd=workspace,
            env=environment(commit) | {RESULT_FILE: str(answer)},
            stdout=sys.stderr,
        )
        if done.returncode != 0:
            sys.exit(done.returncode)
        emit(_where(workspace, commit) | (read_json(answer) if answer.exists() else {}))


@app.command("plan")
def plan_command(
    revision: Annotated[
        str | None, typer.Argument(help="Branch, tag, commit or DVC experiment; the watched branch if left out.")
    ] = None,
) -> None:
    """Say what a push of a revision would run and what it would reuse; nothing runs."""
    emit(forecast(revision).model_dump(mode="json"))


@app.command("revision")
def revision_command() -> None:
    """Say which commit this folder is at."""
    emit({"commit": revision().commit, "dataset": revision().dataset})


@app.command("stage")
def stage_command(name: str, run: Run, revision: AtRevision = None, lock: LockEntries = "{}") -> None:
    """Reproduce one stage of dvc.yaml in the run's workspace."""
    commit = resolve(revision)
    workspace = open_workspace(run, commit)
    os.environ.update(environment(commit))
    released = released_lock(_project(workspace))
    result = reproduce(workspace, name, json.loads(lock), released)
    emit(result.model_dump() | _summary(workspace, name) | _where(workspace, commit))


@app.command("release")
def release_command(run: Run, lock: LockEntries = "{}", revision: AtRevision = None) -> None:
    """Push the run's dataset and commit its dvc.lock on the pipeline's branch."""
    commit = resolve(revision)
    workspace = open_workspace(run, commit)
    os.environ.update(environment(commit))
    made = release(workspace, run, _project(workspace), commit, json.loads(lock))
    emit(made.model_dump() | {"project": _project(workspace)})


@app.command("close")
def close_command(run: Run) -> None:
    """Remove the run's workspace."""
    close_workspace(run)
    emit({"run": run})


def _where(workspace: Path, commit: str) -> dict[str, str]:
    return {"revision": commit, "project": _project(workspace)}


def _project(workspace: Path) -> str:
    return load_params(workspace / "params.yaml").project


def _summary(workspace: Path, stage: str) -> dict[str, object]:
    """What a person wants to read of the stage beside its hash."""
    if stage == "snapshot":
        return {"summary": _snapshot(workspace)}
    shown = {"split": "data/certificate.json", "evaluate": "data/metrics.json"}
    if stage not in shown:
        return {}
    return {"summary": read_json(workspace / shown[stage])}


def _snapshot(workspace: Path) -> dict[str, object]:
    from pipelines.dataset.snapshot import overlaps, read_manifest
    from pipelines.scenes.catalog import read_scenes

    manifest = read_manifest(workspace / "data" / "manifest.json")
    catalog = settings().catalog / manifest.project
    bring_scenes(catalog / "catalog.json", catalog / "scenes")
    around = read_scenes(catalog)
    left_out = [f"Scene {one.scene} is left out: {one.reason}" for one in manifest.excluded]
    findings = [*left_out, *manifest.findings, *overlaps(around, manifest)]
    told = findings if len(findings) <= _TOLD else [*findings[:_TOLD], f"And {len(findings) - _TOLD} more."]
    return {"scenes": len(manifest.scenes), "findings": told}
