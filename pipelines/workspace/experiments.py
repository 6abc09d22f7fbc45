"""Experiments of ``dvc exp``, which lie below ``refs/exps/`` of the watched repository once they were pushed."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.config import settings
from pipelines.errors import BadData
from pipelines.workspace.git import git

EXPERIMENTS = "refs/exps/"

_REF = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38,62}/(?P<name>[^/]+)")  # what is not of this form is DVC's own
_HASH = re.compile(r"[0-9a-f]{7,64}")


def experiment(bare: Path, asked: str) -> str | None:
    """The commit of the experiment ``asked``, its name, its ref or its hash, brought into the mirror ``bare``.

    ``None`` where the repository has none such. Raises ``BadData`` where several have that name.
    """
    remote = settings().git_remote
    listed = (line.split("\t") for line in git("ls-remote", remote, f"{EXPERIMENTS}*", at=bare).splitlines())
    found = {ref: commit for commit, ref in listed if (known := _REF.fullmatch(ref)) and _is(asked, ref, commit, known)}
    if len(set(found.values())) > 1:
        raise BadData(
            f"There are {len(found)} experiments {asked!r} in {remote}, of different commits; name one by its ref: "
            f"{', '.join(sorted(found))}."
        )
    if not found:
        return None
    ref, commit = min(found.items())
    git("fetch", "--quiet", "--no-tags", remote, f"+{ref}:{ref}", at=bare)
    return commit


def _is(asked: str, ref: str, commit: str, known: re.Match[str]) -> bool:
    return asked in (ref, known["name"]) or (_HASH.fullmatch(asked) is not None and commit.startswith(asked))
