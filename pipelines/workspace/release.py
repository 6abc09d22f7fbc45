"""Making a dataset version: data to the DVC remote, ``dvc.lock`` in one commit on the pipeline's branch, and a tag."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from pipelines.config import settings
from pipelines.errors import BadData, SwathError
from pipelines.workspace.git import EMAIL, git
from pipelines.workspace.source import built_line, mirror, push, resolve
from pipelines.workspace.stage import Lock, add_lock, key, read_lock
from pipelines.workspace.workspace import close_workspace, open_workspace

log = logging.getLogger(__name__)

_DECIDING = ("params.yaml", "dvc.yaml", "pipelines")  # what a model is trained, judged, packaged and used by
_DATA = ("*.dvc", "labels", ":(exclude)labels/README.md", ":(exclude)labels/.gitignore")
TRAINING_STAGES = ("train", "evaluate")
DATASET_OUTPUT = "data/chips"
_SUBJECT = "Lock dataset"


class Release(BaseModel):
    """A dataset version. ``changed`` is false where the version before it has the same data and training recipe."""

    model_config = ConfigDict(frozen=True)

    changed: bool
    revision: str  # the commit that holds dvc.lock
    source: str  # the commit that was built
    branch: str
    tag: str | None
    dataset: str  # DVC's hash of data/chips


class Version(BaseModel):
    """A dataset version as it is on record."""

    model_config = ConfigDict(frozen=True)

    tag: str
    revision: str  # the commit that holds dvc.lock
    source: str | None  # the commit that was built
    run: str | None  # name of the run that built it


def version_of(project: str, dataset: str) -> Version | None:
    """The version of ``project`` whose data have DVC's hash ``dataset``, as the watched repository, if it is a folder,
    or else its mirror knows it. Nothing is fetched. Raises ``SwathError`` where neither is here.
    """
    watched, bare = Path(settings().git_remote), settings().home / "source.git"
    place = watched if (watched / ".git").exists() or (watched / "HEAD").exists() else bare
    if not place.exists():
        raise SwathError(f"Neither {watched} nor {bare} is a git repository of this machine; set SWATH_GIT_REMOTE.")
    tag = _tag_of(place, project, dataset)
    if tag is None:
        return None
    lines = git("show", "-s", "--format=%B", f"{tag}^{{commit}}", at=place).splitlines()
    told = dict(line.split(": ", 1) for line in lines if line.startswith("Swath-") and ": " in line)
    revision = git("rev-parse", f"{tag}^{{commit}}", at=place)
    return Version(tag=tag, revision=revision, source=told.get("Swath-Source"), run=told.get("Swath-Run"))


def branch_of(project: str) -> str:
    return f"swath/{project}"


def released_tip(project: str) -> str | None:
    """The commit of the project's last version; ``None`` before the first."""
    return _tip(mirror(), branch_of(project))


def released_source(version: str) -> str:
    """The commit that a version was built from."""
    said = git("show", "-s", "--format=%(trailers:key=Swath-Source,valueonly)", version, at=mirror())
    return said.strip()


def released_lock(project: str) -> Lock:
    """The entries of ``dvc.lock`` in the project's last version; empty before the first."""
    bare = mirror()
    tip = _tip(bare, branch_of(project))
    return dict(yaml.safe_load(git("show", f"{tip}:dvc.lock", at=bare))["stages"]) if tip else {}


def released_revision(revision: str | None, exact: bool = True) -> str:
    """The commit whose ``dvc.lock`` holds the dataset of ``revision`` (of the watched branch if ``None``).

    The revision itself where it is such a version; else the version that was built from it; else that of the last
    commit before it that was built, which stands for every later one that changed neither data nor recipe. What was
    built on other branches counts only where nothing before it was. Raises ``BadData`` before the first build, and
    where a ``revision`` that is asked for by name, unless it need not be ``exact``, differs from that version in what
    decides a model: trained would be another than was asked for.
    """
    commit = resolve(revision)
    bare = mirror()
    if git("show", "-s", "--format=%ae %s", commit, at=bare).startswith(f"{EMAIL} {_SUBJECT}"):
        return commit  # a lock that a person committed is of their desk, and maybe of another project's data
    project = yaml.safe_load(_file_at(bare, commit, "params.yaml"))["project"]
    branch = branch_of(project)
    tip = _tip(bare, branch)
    if tip is None:
        raise BadData(f"Project {project!r} has no dataset version yet; run build_dataset for {commit[:12]} first.")
    line = built_line(bare, branch)
    if own := next((version for version, source in line if source == commit), None):
        return own
    place = {
        ancestor: number for number, ancestor in enumerate(git("rev-list", "--topo-order", commit, at=bare).split())
    }
    before = [(place[source], number, version) for number, (version, source) in enumerate(line) if source in place]
    found = min(before)[-1] if before else tip
    asked = revision is not None and exact
    if asked and (other := git("diff", "--name-only", found, commit, "--", *_DECIDING, *_DATA, at=bare).splitlines()):
        raise BadData(
            f"No dataset version was built from {revision}, and the nearest one differs from it in "
            f"{', '.join(other[:5])}{' and more' if len(other) > 5 else ''}; run build_dataset for it, which starts "
            "its training too."
        )
    return found


def release(workspace: Path, run: str, project: str, commit: str, lock: Lock) -> Release:
    """Commit the workspace's ``dvc.lock`` on the project's branch and tag it, once for each new version.

    A new commit is made when the data, the parameters or the code differ from the branch's tip, and is ``changed`` when
    they do in anything that training depends on; a new tag when the data differ. Called again for the same ``run`` it
    finds its own commit, though others came after it, and owes the event that its killed predecessor may not have told.
    """
    add_lock(workspace, lock)
    branch = branch_of(project)
    dataset = _dataset(workspace)
    bare = mirror()
    tip = _tip(bare, branch)
    former = _of_run(bare, tip, run, commit) or tip
    same = former is not None and _recipe(workspace) == _recipe_at(former, run)
    if former and same:
        ours = f"Swath-Run: {run}" in git("show", "-s", "--format=%B", former, at=bare).splitlines()
        if ours or not git("diff", "--name-only", former, commit, "--", *_DECIDING, at=bare):
            tag = git("tag", "--points-at", former, "--list", f"dataset/{project}/*", at=bare).split("\n")[0] or None
            tag = tag or _tag_of(bare, project, dataset)
            return Release(changed=ours, revision=former, source=commit, branch=branch, tag=tag, dataset=dataset)
    _push_run_cache(workspace)
    made = _commit(bare, workspace, tip, run, commit, dataset)
    refs = [f"{made}:refs/heads/{branch}"]
    tag = _tag_of(bare, project, dataset)
    if tag is None:
        tag = f"dataset/{project}/v{_next_number(bare, project)}"
        git("tag", "--annotate", "--no-sign", "--force", tag, made, "-m", f"Dataset {dataset}", at=bare)
        refs.append(f"refs/tags/{tag}:refs/tags/{tag}")
    push(bare, *refs)
    git("update-ref", f"refs/heads/{branch}", made, at=bare)
    return Release(changed=not same, revision=made, source=commit, branch=branch, tag=tag, dataset=dataset)


def _commit(bare: Path, workspace: Path, tip: str | None, run: str, commit: str, dataset: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        env = {"GIT_DIR": str(bare), "GIT_WORK_TREE": str(workspace), "GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git("read-tree", commit, at=workspace, env=env)
        git("add", "--force", "dvc.lock", at=workspace, env=env)
        tree = git("write-tree", at=workspace, env=env)
        parents = [word for parent in (tip, commit) if parent for word in ("-p", parent)]
        message = f"{_SUBJECT} {dataset}\n\nSwath-Run: {run}\nSwath-Source: {commit}"
        return git("commit-tree", tree, *parents, "-m", message, at=workspace, env=env)


def _of_run(bare: Path, tip: str | None, run: str, commit: str) -> str | None:
    """The version that ``run`` made of ``commit``, if it is on record."""
    if tip is None:
        return None
    words = ("--fixed-strings", "--all-match", f"--grep=Swath-Run: {run}", f"--grep=Swath-Source: {commit}")
    found = git("log", "--first-parent", "--format=%H", *words, tip, at=bare).split()
    return next(
        (one for one in found if f"Swath-Run: {run}" in git("show", "-s", "--format=%B", one, at=bare).split("\n")),
        None,
    )


def _recipe(workspace: Path) -> list[str]:
    return [key(workspace, stage) for stage in TRAINING_STAGES]


def _recipe_at(commit: str, run: str) -> list[str]:
    name = f"{run}.tip"
    try:
        return _recipe(open_workspace(name, commit))
    finally:
        close_workspace(name)


def _dataset(workspace: Path) -> str:
    for entry in read_lock(workspace).values():
        for out in entry.get("outs", []):
            if out["path"] == DATASET_OUTPUT:
                return str(out["md5"])
    raise SwathError(f"dvc.lock in {workspace} has no {DATASET_OUTPUT}; the chip stage must run before the release.")


def _file_at(bare: Path, commit: str, path: str) -> str:
    listed = git("ls-tree", "--name-only", commit, path, at=bare)
    return git("show", f"{commit}:{path}", at=bare) if listed else ""


def _tip(bare: Path, branch: str) -> str | None:
    return git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}", at=bare) or None


def _tag_of(bare: Path, project: str, dataset: str) -> str | None:
    listing = git(
        "for-each-ref", "--format=%(contents:subject) %(refname:short)", f"refs/tags/dataset/{project}", at=bare
    )
    return next((line.split(" ")[-1] for line in listing.splitlines() if line.startswith(f"Dataset {dataset} ")), None)


def _next_number(bare: Path, project: str) -> int:
    tags = git("tag", "--list", f"dataset/{project}/v*", at=bare).split()
    ours = (re.fullmatch(r"dataset/[^/]+/v(\d+)", tag) for tag in tags)  # people may have tags of their own there
    return 1 + max((int(tag[1]) for tag in ours if tag), default=0)


def _push_run_cache(workspace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "push", "--run-cache", DATASET_OUTPUT],
        cwd=workspace,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SwathError(f"dvc push failed, so the new version was not committed: {done.stderr.strip()}")
