"""One DVC stage, reproduced in a workspace as one task."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from pipelines.config import settings
from pipelines.errors import BAD_DATA_EXIT, BadData, SwathError
from pipelines.files import is_full, write_text
from pipelines.workspace import results
from pipelines.workspace.git import git
from pipelines.workspace.objects import Output, damaged, discard_damaged, drafts, in_cache, tracked_by

log = logging.getLogger(__name__)

_RUNS = "Running stage"  # what DVC says of a stage that it does not reuse
LOCK = "SWATH_LOCK"  # environment variable with entries of dvc.lock, as JSON

Lock = dict[str, Any]  # the entries of dvc.lock, by stage


class StageResult(BaseModel):
    """What a stage left behind. ``lock`` holds its own entry and those it was given, for the stage after it."""

    model_config = ConfigDict(frozen=True)

    stage: str
    reused: bool
    seconds: float
    outputs: dict[str, str]  # path: DVC hash
    lock: Lock


def reproduce(workspace: Path, stage: str, lock: Lock, released: Lock) -> StageResult:
    """Run ``dvc repro --single-item`` for ``stage``, having brought what it depends on, and push what it made.

    ``lock`` holds the entries of the stages before it in this run, ``released`` those of the last dataset version.
    An unchanged stage is not run: its outputs come from the workspace, the shared cache or the DVC remote, whichever
    machine made them. They are seen to exist, with the bytes that their hashes stand for,
    before it is called reused; so is a stage that always runs and gave what the last version has.
    Raises ``BadData`` where the stage's own command did, ``SwathError`` otherwise.
    """
    started = monotonic()
    add_lock(workspace, lock)
    bring(workspace, definition(workspace, stage).get("deps", []))
    always = definition(workspace, stage).get("always_changed", False)
    decides = hashlib.sha256(key(workspace, stage).encode()).hexdigest()
    known = None if always else results.find(decides)
    _take(workspace, stage, known)
    said = _reproduced(workspace, stage)
    after = read_lock(workspace)[stage]
    outputs = {out["path"]: out["md5"] for out in after.get("outs", [])}
    if missing := [path for path in outputs if not (workspace / path).exists()]:
        raise SwathError(
            f"DVC calls stage {stage} done, yet {', '.join(missing)} is missing in {workspace}; run it again."
        )
    _dvc(workspace, "push", stage)
    if not always and after != known:  # also where a try that was killed here had run it
        results.keep(decides, after)
    unchanged = always and released.get(stage, {}).get("outs") == after.get("outs")
    return StageResult(
        stage=stage,
        reused=_RUNS not in said or unchanged,
        seconds=round(monotonic() - started, 2),
        outputs=outputs,
        lock=lock | {stage: after},
    )


def _take(workspace: Path, stage: str, entry: dict[str, Any] | None) -> None:
    """Have what was made of ``stage`` before, here or elsewhere, so that DVC finds nothing to run."""
    if entry is None:
        return
    if not results.same(read_lock(workspace).get(stage), entry):
        add_lock(workspace, {stage: entry})
    if all(in_cache(out) for out in entry.get("outs", [])):
        return
    try:
        _dvc(workspace, "pull", stage)
    except SwathError as error:
        log.warning("What was made of stage %s before cannot be had, so it is made anew: %s", stage, error)


def _reproduced(workspace: Path, stage: str) -> str:
    """What DVC said. Outputs that it took from the cache are looked at, and the stage is run where they are damaged."""
    here = {path for path in _outputs(workspace, stage) if (workspace / path).exists()}
    said = _dvc(workspace, "repro", "--single-item", stage)
    if _RUNS in said:
        return said
    came = [out for out in read_lock(workspace)[stage].get("outs", []) if out["path"] not in here]
    if not (broken := discard_damaged(came)):
        return said
    _remove(workspace, broken)
    return _dvc(workspace, "repro", "--single-item", stage)


def _outputs(workspace: Path, stage: str) -> list[str]:
    wanted = definition(workspace, stage)
    listed = [*wanted.get("outs", []), *wanted.get("metrics", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


def _remove(workspace: Path, paths: list[str]) -> None:
    for path in paths:
        if (workspace / path).is_dir():
            shutil.rmtree(workspace / path)
        else:
            (workspace / path).unlink(missing_ok=True)


def read_lock(workspace: Path) -> Lock:
    """The entries of ``dvc.lock`` by stage; empty where there is none."""
    path = workspace / "dvc.lock"
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return dict((content or {}).get("stages", {}))


def add_lock(workspace: Path, lock: Lock) -> None:
    """Lay ``lock`` over the workspace's ``dvc.lock``, which is how a stage learns what another machine made.

    Entries stand in the order of ``dvc.yaml``, whichever stage ended first, so that equal results are equal commits.
    """
    if lock:
        order = list(yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
        entries = read_lock(workspace) | lock
        known = [stage for stage in order if stage in entries]
        in_order = [*known, *sorted(entries.keys() - known)]
        alike = json.loads(json.dumps(entries, sort_keys=True))  # DVC and JSON order what is in an entry differently
        merged = {"schema": "2.0", "stages": {stage: alike[stage] for stage in in_order}}
        write_text(workspace / "dvc.lock", yaml.safe_dump(merged, sort_keys=False))


def definition(workspace: Path, stage: str) -> dict[str, Any]:
    """The stage as ``dvc.yaml`` writes it."""
    stages = yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    if stage not in stages:
        raise BadData(f"dvc.yaml has no stage {stage!r}; it has {', '.join(stages)}.")
    return dict(stages[stage])


def key(workspace: Path, stage: str) -> str:
    """What decides the stage's result: its command, parameters, data and code, as one text to compare.

    Data by DVC hash as far as ``dvc.lock`` tells, code by git's hash of the folder, parameters by value.
    """
    wanted = definition(workspace, stage)
    made = {out["path"]: out["md5"] for entry in read_lock(workspace).values() for out in entry.get("outs", [])}
    params = yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))
    return json.dumps(
        {
            "cmd": wanted["cmd"],
            "params": {name: _value(params, name) for name in wanted.get("params", [])},
            "deps": {path: made.get(path) or _git_hash(workspace, path) for path in wanted.get("deps", [])},
        },
        sort_keys=True,
    )


def _value(params: dict[str, Any], dotted: str) -> Any:
    value: Any = params
    for part in dotted.split("."):
        value = value[part]
    return value


def _git_hash(workspace: Path, path: str) -> str | None:
    try:
        return git("rev-parse", "--verify", "--quiet", f"HEAD:{path}", at=workspace)
    except SwathError:
        return None


def bring(workspace: Path, paths: list[str]) -> None:
    """Have ``paths``, outputs of locked stages or files inside of them, and all that people track under labels/.

    Their bytes are seen to be those that the hashes stand for. Raises ``SwathError`` with the paths that the DVC remote
    lacks, or has damaged.
    """
    labels = {str(p.relative_to(workspace)): p for p in workspace.glob("labels/**/*.dvc")}
    made = [out for entry in read_lock(workspace).values() for out in entry.get("outs", [])]
    missing = [path for path in paths if not (workspace / path).exists()]
    absent = [out for out in made if any(path == out["path"] or path.startswith(f"{out['path']}/") for path in missing)]
    wanted = {*labels, *(out["path"] for out in absent)}
    if not wanted:
        return
    absent += [out for p in labels.values() if not p.with_suffix("").exists() for out in tracked_by(p)]
    discard_damaged(absent)
    try:
        _dvc(workspace, "pull", *sorted(wanted))
    except SwathError as error:
        raise SwathError(f"{_lacking(sorted(wanted), absent)} DVC said: {error}") from None


def _lacking(wanted: list[str], outputs: list[Output]) -> str:
    """A sentence that tells objects of a remote folder that are damaged from those that are not there."""
    store = Path(settings().dvc_remote) / "files" / "md5"
    broken = [str(file) for out in outputs for file in damaged(store, str(out["md5"]))]
    if broken:
        return (
            f"The DVC remote has other bytes than it should for {', '.join(wanted)}: delete {', '.join(broken)}, and "
            "run build_dataset, or `dvc push` where the data are whole, to put them there anew."
        )
    return (
        f"Not all of {', '.join(wanted)} is whole in the DVC remote. If the commit was pushed before its data, run "
        "`dvc push` in that checkout."
    )


def _dvc(workspace: Path, *arguments: str) -> str:
    # of tasks that share a workspace one may be pulling for minutes, and DVC gives up after three seconds
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    log.info("dvc %s", " ".join(arguments))
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",  # a library may write the name of a file as it is
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            lines.append(line.rstrip())
            if line.strip():
                log.info("%s", line.rstrip())
    if running.returncode == 0:
        return "\n".join(lines)
    for draft in re.findall(r"-> '(/[^']+/\.[\w-]+\.tmp)'", "\n".join(lines)):
        Path(draft).unlink(missing_ok=True)  # DVC leaves it, and on a full disk it takes the room that it lacked
    if is_full(cache := settings().dvc_cache):  # whoever else is copying there fails as well
        for left in drafts(cache):
            left.unlink(missing_ok=True)
    text = _own(lines) or " ".join(line for line in lines[-3:] if line)
    # DVC reports the status of the command that failed only in its words.
    if any(f"exited with {BAD_DATA_EXIT}" in line for line in lines):
        raise BadData(text)
    raise SwathError(f"dvc {' '.join(arguments)} failed: {text}")


def _own(lines: list[str]) -> str:
    """What the stage's command itself said last, which may be several lines, before DVC tells that it failed."""
    begun = [i for i, line in enumerate(lines) if line.startswith("swath: ")]
    if not begun:
        return ""
    said = takewhile(lambda line: not line.startswith("ERROR: "), lines[begun[-1] :])
    return " ".join(line.strip() for line in said if line.strip()).removeprefix("swath: ")
