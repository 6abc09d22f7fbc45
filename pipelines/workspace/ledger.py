"""An append-only list of JSON entries: one commit each on a branch of its own in the watched repository.

A commit holds the hash of the one before it, so no entry can be altered or taken out without all later hashes changing;
and each machine keeps the tip that it saw last, so that it notices when the branch no longer goes on from there.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import alone, write_json
from pipelines.secrets import without_secrets
from pipelines.workspace.git import EMAIL, clear_dead_locks, git
from pipelines.workspace.source import has_history

_TRIES = 8  # pushes, when others push too
_ADDED = re.compile(r"A\t(\d{4,})\.json")
_START, _ROW = "\x01", re.compile(r"(?P<commit>[0-9a-f]{40,64}) (?P<author>\S*)")

Content = dict[str, Any]


class Entry(BaseModel):
    """One entry; ``commit`` pins it and all before it."""

    model_config = ConfigDict(frozen=True)

    number: int  # from 1
    commit: str
    content: Content


class Ledger(BaseModel):
    """The entries, the earliest first. ``faults`` are sentences: what was done to the branch besides adding."""

    model_config = ConfigDict(frozen=True)

    branch: str
    entries: tuple[Entry, ...]
    faults: tuple[str, ...]


def branch_of_decisions(project: str) -> str:
    """Not below ``swath/``, where the branches of datasets are."""
    return f"swath-decisions/{project}"


def read(branch: str) -> Ledger:
    """The ledger on ``branch``. Where the repository cannot be reached, or its branch no longer goes on from what this
    machine saw last, the entries are those of this machine's copy and a fault says so.
    """
    with _copy() as bare:
        seen = _tip(bare, branch)
        try:
            there = _fetched(bare, branch)
        except SwathError as error:
            where = without_secrets(settings().git_remote)
            lost = f"The records in {where} cannot be reached; told is what this machine saw. {error}"
            return _read(bare, branch, seen, lost)
        if broken := _broken(bare, branch, seen, there):
            return _read(bare, branch, seen, broken)
        found = _read(bare, branch, there)
        if there and not found.faults:  # or a repair of the branch would look like a loss
            git("update-ref", f"refs/heads/{branch}", there, at=bare)
        return found


def append(branch: str, make: Callable[[tuple[Entry, ...]], Content | None]) -> tuple[Entry, ...]:
    """Add what ``make`` gives for the entries so far, and return them all; nothing is added where it gives ``None``.

    Where another machine was faster, ``make`` is asked again with its entry. Entries that the repository has lost are
    pushed again with the new one. Raises ``SwathError`` if the repository cannot be reached, or its branch holds other
    entries than those that this machine saw.
    """
    with _copy() as bare:
        refused: SwathError | None = None
        for attempt in range(_TRIES):
            time.sleep(random.uniform(0, 0.2 * attempt))  # noqa: S311 - so that two do not collide again
            seen, there = _tip(bare, branch), _fetched(bare, branch)
            behind = seen and (there is None or _goes_on(bare, there, seen))
            if not behind and (broken := _broken(bare, branch, seen, there)):
                raise SwathError(f"{broken} No decision is added to it.")
            tip = seen if behind else there
            known = _read(bare, branch, tip)
            if known.faults:
                raise SwathError(f"{' '.join(known.faults)} No decision is added to it.")
            content = make(known.entries)
            if content is None:
                return known.entries
            number = len(known.entries) + 1
            made = _commit(bare, tip, number, content)
            try:
                if has_history(settings().git_remote):
                    # without force: refused unless it goes on from what is there at that moment
                    git("push", "--quiet", settings().git_remote, f"{made}:refs/heads/{branch}", at=bare)
            except SwathError as error:
                refused = error
                continue
            git("update-ref", f"refs/heads/{branch}", made, at=bare)
            return (*known.entries, Entry(number=number, commit=made, content=content))
        raise SwathError(f"The decision could not be recorded on {branch}, and so is not carried out: {refused}")


@contextmanager
def _copy() -> Iterator[Path]:
    """What this machine saw, in a repository of its own: the mirror takes whatever the watched one has become."""
    home = settings().home
    with alone(home / "decisions.lock"):
        bare = home / "decisions.git"
        if not (bare / "HEAD").exists():
            git("init", "--quiet", "--bare", str(bare), at=home)
        clear_dead_locks(bare)
        yield bare


def _fetched(bare: Path, branch: str) -> str | None:
    remote = settings().git_remote
    if not has_history(remote):
        return _tip(bare, branch)
    listed = git("ls-remote", remote, f"refs/heads/{branch}", at=bare)
    if not listed:
        return None
    tip = listed.split()[0]
    git("fetch", "--quiet", "--no-tags", remote, f"+refs/heads/{branch}:refs/there/{branch}", at=bare)
    return tip


def _broken(bare: Path, branch: str, seen: str | None, there: str | None) -> str | None:
    if seen is None or (there is not None and _goes_on(bare, seen, there)):
        return None
    where = f"The branch {branch} in {without_secrets(settings().git_remote)}"
    if there is None:
        return f"{where} is gone; this machine's copy is {bare}, at {seen[:12]}."
    if _goes_on(bare, there, seen):
        return f"{where} has lost its newest records: it is at {there[:12]}, and this machine saw {seen[:12]}."
    return (
        f"{where} was rewritten: it is at {there[:12]}, which does not go on from {seen[:12]}, which this machine saw. "
        f"Compare them in {bare}; whoever knows which is true pushes that one by force, or deletes the copy."
    )


def _read(bare: Path, branch: str, tip: str | None, *faults: str) -> Ledger:
    if tip is None:
        return Ledger(branch=branch, entries=(), faults=faults)
    log = git("log", "--reverse", "--name-status", "--no-renames", "-m", f"--format={_START}%H %ae", tip, at=bare)
    told, paths = list(faults), list[str]()
    found: list[tuple[int, str]] = []
    for text in log.split(_START)[1:]:
        head, *changes = [line for line in text.splitlines() if line]
        row = _ROW.fullmatch(head)
        assert row is not None
        number, commit = len(paths) + 1, row["commit"]
        added = _ADDED.fullmatch(changes[0]) if len(changes) == 1 else None
        if added is None or int(added[1]) != number:
            did = "; ".join(changes).replace("\t", " ") or "nothing"
            told.append(f"Commit {commit[:12]} on {branch} does not add record {number} and nothing else: {did}.")
            continue
        if row["author"] != EMAIL:
            told.append(f"Record {number} on {branch} was written by {row['author']}, not by the pipeline.")
        paths.append(f"{commit}:{added[1]}.json")
        found.append((number, commit))
    try:
        contents = _documents(git("show", *paths, at=bare)) if paths else []
    except ValueError as error:
        unreadable = f"The records on {branch} are not all JSON: {error}."
        return Ledger(branch=branch, entries=(), faults=(*told, unreadable))
    entries = (Entry(number=n, commit=c, content=content) for (n, c), content in zip(found, contents, strict=True))
    return Ledger(branch=branch, entries=tuple(entries), faults=tuple(told))


def _documents(text: str) -> list[Content]:
    """JSON documents that follow one another."""
    decoder, documents, at = json.JSONDecoder(), [], 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
        while at < len(text) and text[at].isspace():
            at += 1
    return documents


def _commit(bare: Path, tip: str | None, number: int, content: Content) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        file, env = Path(scratch) / "entry.json", {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        write_json(file, content)
        if tip:
            git("read-tree", tip, at=bare, env=env)
        blob = git("hash-object", "-w", str(file), at=bare)
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{number:04}.json", at=bare, env=env)
        tree = git("write-tree", at=bare, env=env)
        above = ["-p", tip] if tip else []
        return git("commit-tree", tree, *above, "-m", f"Record {number}", at=bare)


def _goes_on(bare: Path, earlier: str, later: str) -> bool:
    return earlier in git("rev-list", later, at=bare).split()


def _tip(bare: Path, branch: str) -> str | None:
    return git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}", at=bare) or None
