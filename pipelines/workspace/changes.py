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

    These are ``params.yaml``, ``dvc.yaml``, ``dvc.lock``, ``*.dvc`` and what git keeps below ``labels/``. Commits of
    the pipeline's own author do not count. Where history was rewritten, what differs between the two counts, or every
    such file if ``since`` is gone.
    """
    bare = mirror()
    return sorted({path for path in _changed(bare, since, until) if _decides(path)})


def _changed(bare: Path, since: str, until: str) -> set[str]:
    try:
        commits = git("log", "--format=%H %ae", f"{since}..{until}", at=bare).splitlines()
        between = _names(git("diff", "--name-only", "--no-renames", "-z", since, until, at=bare))
        if git("rev-list", "--max-count=1", f"{until}..{since}", at=bare):  # what was dropped is a change too
            return between
    except SwathError:
        return _names(git("ls-tree", "-r", "-z", "--name-only", until, at=bare))
    authors = [line.partition(" ") for line in commits]  # of whom some give no address
    foreign = [commit for commit, _, email in authors if email != EMAIL]
    # -m: a merge may choose against each parent; what it leaves as it was before is no change all the same
    return between & {
        path
        for commit in foreign
        for path in _names(
            git("diff-tree", "--root", "-m", "-r", "-z", "--no-commit-id", "--name-only", commit, at=bare)
        )
    }


def _names(listed: str) -> set[str]:
    """Paths that git ends with NUL, for it writes others than ASCII in quotes where it lists them by lines."""
    return set(filter(None, listed.split("\0")))


def _decides(path: str) -> bool:
    name = PurePosixPath(path).name
    if path.startswith("labels/"):
        return name not in ("README.md", ".gitignore")
    return path in ("params.yaml", "dvc.yaml", "dvc.lock") or name.endswith(".dvc")
