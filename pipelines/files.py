"""Writing so that a killed process leaves either the old file or the new one, one process at a time; checksums."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pipelines.errors import SwathError

_LOCK = ".lock"
_ROOM = 2**24  # bytes; a disk with fewer is full


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write a file or a folder to; rename it over ``target`` at the end.

    On any error the half-written file or folder is removed and ``target`` stays as it was. What a killed process left
    half-written is removed by whoever writes the same target next.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _holder(target) as holder:
        draft = holder / target.name
        yield draft
        if draft.is_file():
            with draft.open("rb") as stream:
                os.fsync(stream.fileno())
        if target.is_dir() and not target.is_symlink():
            target.rename(holder / ".former")  # a folder cannot be renamed over a folder that has files
        draft.rename(target)


@contextmanager
def _holder(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``: the first of ``.NAME.0``, ``.NAME.1``, ... that no living process has.

    Its name does not depend on chance, so that what a dead process left is found without looking through the folder.
    """
    number = 0
    while (lock := _claimed(holder := target.parent / f".{target.name}.{number}")) is None:
        number += 1
    with lock:
        try:
            _empty(holder)
            yield holder
        finally:
            _empty(holder)
            (holder / _LOCK).unlink()  # last: until then nobody else takes the folder for his
            with suppress(OSError):  # who came next is in it already
                holder.rmdir()


def _claimed(holder: Path) -> TextIO | None:
    """The lock of the folder ``holder``, which is made if need be; ``None`` where another process has it."""
    with suppress(FileExistsError):
        holder.mkdir()
    path = holder / _LOCK
    with ExitStack() as stack, suppress(BlockingIOError, FileNotFoundError):  # or is removing it at this moment
        stream = stack.enter_context(path.open("w"))
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            stack.pop_all()
            return stream
    return None


def _empty(holder: Path) -> None:
    for left in holder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != _LOCK:
            left.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, busy: str | None = None) -> Iterator[None]:
    """Keep other processes of this machine out meanwhile; the system lets go however this process ends.

    Waits for its turn, or raises ``SwathError`` with the sentence ``busy`` if another process is inside.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise SwathError(str(busy)) from None
        yield


def write_text(target: Path, text: str) -> None:
    """Write ``text`` in UTF-8; what that cannot hold, half a surrogate pair, as an escape, which JSON reads back."""
    with replacing(target) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` with sorted keys and a final newline, so that equal values give equal bytes."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_secret(target: Path, value: Any) -> None:
    """The same for a file that is its owner's alone from the start."""
    with replacing(target) as draft:
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(source: Path) -> Any:
    return json.loads(Path(source).read_text(encoding="utf-8"))


def is_full(folder: Path) -> bool:
    """Whether the disk of ``folder`` has no room to speak of."""
    return folder.exists() and shutil.disk_usage(folder).free < _ROOM


def sha256(source: Path) -> str:
    """Hex digest of the file's bytes."""
    with Path(source).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def named(pattern: str | Path) -> tuple[Path, list[Path]]:
    """What a path with or without wildcards names: the folder above the first wildcard, and the matches, sorted.

    Without a wildcard these are the path itself, or the folder above it where it is a file, and the path.
    """
    path = Path(pattern)
    wild = next((i for i, part in enumerate(path.parts) if any(sign in part for sign in "*?[")), None)
    if wild is None or path.exists():
        return (path if path.is_dir() else path.parent), [path]
    above = Path(*path.parts[:wild])
    return above, sorted(above.glob(str(Path(*path.parts[wild:]))))
