"""What a push changed, and whether the pipeline has to look at it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.workspace.git import EMAIL, git
from pipelines.workspace.source import mirror


def tip() -> str | None:
    """The commit at the tip of the watched branch; ``None`` where the branch does not exist yet."""
    return git("for-each-ref", "--format=%(objectname)", f"refs/heads/{settings().git_branch}", at=mirror()) or None


def relevant_changes(since: str, until: str) -> list[str]:
    """Files between two commits that decide what the pipeline computes, sorted.

    These are ``params.yaml``, ``dvc.yaml``, ``dvc.lock`` and ``*.dvc``. Commits of the pipeline's own author do not
    count. If ``since`` is gone (history was rewritten), every such file of ``until`` counts.
    """
    bare = mirror()
    return sorted({path for path in _changed(bare, since, until) if _decides(path)})


def _changed(bare: Path, since: str, until: str) -> set[str]:
    try:
        commits = git("log", "--format=%H %ae", f"{since}..{until}", at=bare).splitlines()
    except SwathError:
        return set(git("ls-tree", "-r", "--name-only", until, at=bare).splitlines())
    foreign = [line.split()[0] for line in commits if line.split()[1] != EMAIL]
    # -m: a merge counts with what it brings against each parent.
    return {
        path
        for commit in foreign
        for path in git(
            "diff-tree", "--root", "-m", "-r", "--no-commit-id", "--name-only", commit, at=bare
        ).splitlines()
    }


def _decides(path: str) -> bool:
    name = PurePosixPath(path).name
    return path in ("params.yaml", "dvc.yaml", "dvc.lock") or name.endswith(".dvc")
