"""Writing so that a killed process leaves either the old file or the new one, one process at a time; checksums."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import SwathError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write a file or a folder to; rename it over ``target`` at the end.

    On any error the half-written file or folder is removed and ``target`` stays as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    draft = holder / target.name
    try:
        yield draft
        if draft.is_file():
            with draft.open("rb") as stream:
                os.fsync(stream.fileno())
        if target.is_dir() and not target.is_symlink():
            target.rename(holder / ".former")  # a folder cannot be renamed over a folder that has files
        draft.rename(target)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


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
    with replacing(target) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` with sorted keys and a final newline, so that equal values give equal bytes."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(source: Path) -> Any:
    return json.loads(Path(source).read_text(encoding="utf-8"))


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
