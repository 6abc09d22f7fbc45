"""The store's objects on this machine: each version a file that is never changed, the least used go first."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from pipelines.config import settings
from pipelines.depot.store import Stored, store

_DAY = 86_400
_IN_USE = 3_600  # seconds for which what was used is not removed: a command may be about to open it
_VIEWS = 7 * _DAY  # after which nobody takes up what a killed command left


def place(stored: Stored) -> Path:
    """Where the bytes of an object are, once they were brought."""
    return objects() / f"{stored.key}@{stored.etag}"


def fetch(stored: Stored) -> None:
    """Have the bytes of an object here."""
    target = place(stored)
    now = time.time()
    if target.exists():
        if now - target.stat().st_atime > _IN_USE / 2:
            os.utime(target, (now, target.stat().st_mtime))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    store().fetch(stored, target)


def link(stored: Stored, path: Path) -> bool:
    """Make ``path`` a link to an object, whatever it was; whether it was something else."""
    wanted = str(place(stored))
    if path.is_symlink() and str(path.readlink()) == wanted:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.link")
    draft.unlink(missing_ok=True)
    draft.symlink_to(wanted)
    draft.replace(path)
    return True


def target(path: Path) -> Stored:
    """The object that the link ``path`` stands for."""
    key, _, etag = path.readlink().relative_to(objects()).as_posix().rpartition("@")
    return Stored(key, etag, 0.0)


def is_link(path: Path, key: str) -> bool:
    """Whether ``path`` is a link to the object ``key``: not to another one, and not a file."""
    return path.is_symlink() and target(path).key == key


def keep(path: Path, sent: Stored) -> Stored:
    """Put the file ``path``, which is in the store now, among the objects, and a link in its place."""
    kept = place(sent)
    kept.parent.mkdir(parents=True, exist_ok=True)
    path.rename(kept)
    os.utime(kept, (time.time(), sent.modified))
    link(sent, path)
    return sent


def moved(path: Path, sent: Stored) -> Stored:
    """Let the link ``path`` to an object that was copied to another key stand for the copy, with the same bytes."""
    former, kept = path.readlink(), place(sent)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError, FileExistsError):  # whoever never read it has no bytes to keep
        os.link(former, kept)
        os.utime(kept, (time.time(), sent.modified))
    link(sent, path)
    return sent


def tidy() -> None:
    """Remove what commands left that were killed long ago, and what was used the longest ago above the limit.

    What a view links to stays, for it may be read at any time.
    """
    now = time.time()
    for path in (settings().home / "depot" / "views").glob("*"):
        if path.name != "page" and now - path.lstat().st_mtime > _VIEWS:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    found, needed = [], _linked()
    for top, folders, names in os.walk(objects()):
        for draft in [name for name in folders if name.startswith(".")]:  # of `replacing`; nobody may come to end it
            folders.remove(draft)
            with suppress(FileNotFoundError):
                if now - Path(top, draft).stat().st_mtime > _DAY:
                    shutil.rmtree(Path(top, draft), ignore_errors=True)
        for path in (Path(top, name) for name in names):
            with suppress(FileNotFoundError):
                state = path.stat()
                found.append((state.st_atime, state.st_size, path))
    excess = sum(size for _, size, _ in found) - settings().store_cache
    for used, size, path in sorted(found):
        if excess <= 0 or now - used < _IN_USE:
            break
        if str(path) in needed:
            continue
        path.unlink(missing_ok=True)
        excess -= size


def _linked() -> set[str]:
    """What the links of all views lead to, the page's included."""
    views = settings().home / "depot" / "views"
    return {str(path.readlink()) for path in views.glob("[!.]*/**/*") if path.is_symlink()}


def objects() -> Path:
    """The folder of all of them."""
    return settings().home / "depot" / "objects"
