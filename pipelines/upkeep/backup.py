"""A copy of the whole state in a folder, while the system runs. What a former copy has already is not copied again."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from pipelines.config import settings
from pipelines.errors import BadData, SwathError
from pipelines.files import alone, read_json, sha256, write_text
from pipelines.lineage.code import code
from pipelines.progress import report
from pipelines.upkeep.trees import DATABASES, Entry, Manifest, left_out, quiet, trees

_SCRATCH = ".swath-copy-"  # what begins so in the store is a draft, and anything else somebody's
_TRIES = 3  # of a tree in which something was replaced while it was read


def backup(store: Path, keep: int) -> Path:
    """Copy the state to ``store`` and return the manifest; the ``keep`` newest copies there stay.

    ``store`` holds each content once, named by its sha256, and a manifest for each copy. Killed, it leaves no manifest,
    and what it copied is taken up by the next. Raises ``SwathError`` where another copy is being made there.
    """
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    for tree in filter(Path.exists, trees().values()):
        _require_apart(store, tree)
    with alone(store / ".lock", f"Another copy is being made in {store}; wait for it."):
        known = {entry.path: entry for copy in copies(store)[-1:] for entry in read_manifest(copy).entries}
        entries: list[Entry] = []
        places = {name: place for name, place in trees().items() if place.exists()}
        for done, (name, place) in enumerate(places.items()):
            report(done, len(places), f"copying {name}")
            with quiet(name):
                entries += _tree(store, name, place, known)
        now = datetime.now(UTC)
        manifest = Manifest(
            made=now.isoformat(),
            version=code().version,
            home=str(settings().home),
            entries=tuple(entries),
            left_out=left_out(),
        )
        target = store / f"{now:%Y%m%dT%H%M%S.%fZ}.json"
        write_text(target, manifest.model_dump_json(indent=1))
        _forget(store, keep)
    return target


def copies(store: Path) -> list[Path]:
    """The manifests in ``store``, the oldest first."""
    return sorted(store.glob("[0-9]*Z.json"))


def read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate(read_json(path))
    except (ValueError, ValidationError) as error:
        raise BadData(f"{path} is no manifest of a copy that this version of swath reads: {error}") from None


def place_of(store: Path, digest: str) -> Path:
    return store / "objects" / digest[:2] / digest[2:]


def _tree(store: Path, name: str, place: Path, known: dict[str, Entry]) -> list[Entry]:
    if name in DATABASES:
        return [_database(store, name, place)]
    for _ in range(_TRIES):
        try:
            return [_entry(store, entry, path, known) for entry, path in _walk(store, name, place.resolve())]
        except FileNotFoundError as error:
            gone = error
    raise SwathError(f"{gone.filename} was replaced while {place} was copied, {_TRIES} times; try again.")


def _walk(store: Path, name: str, place: Path, within: tuple[Path, ...] = ()) -> Iterator[tuple[str, Path]]:
    """Each file and folder but drafts, staging and locks. A catalog's index comes before what it lists.

    A link that leads out of all folders that are being copied, such as to a larger disk, stands for what is there.
    """
    within = within or (place,)
    yield name, place
    if not place.is_dir():
        return
    held = place.stat().st_ino
    for path in sorted(place.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if _passes(name, path):
            continue
        entry, target, roots = f"{name}/{path.name}", path.resolve(), within
        if path.is_symlink() and target.exists() and not any(_nested(target, root) for root in within):
            _require_apart(store, target)
            path, roots = target, (*within, target)
        if path.is_dir() and not path.is_symlink():
            yield from _walk(store, entry, path, roots)
        else:
            yield entry, path
    if place.stat().st_ino != held:  # or files of before would be kept with files of after
        raise FileNotFoundError(errno.ENOENT, "replaced", str(place))


def _nested(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _require_apart(store: Path, place: Path) -> None:
    if store.resolve().is_relative_to(place.resolve()):
        raise BadData(f"{store} lies in what is to be copied; name a folder elsewhere, best on another disk.")


def _passes(name: str, path: Path) -> bool:
    """Whether ``path``, which lies in ``name``, belongs to a run at work, or is a draft."""
    tree, *inside = name.split("/")
    if tree in ("catalog", "predictions") and len(inside) == 1 and path.name == "staging":  # of a project
        return True
    return path.name.startswith(".") and not name.endswith(".git")


def _entry(store: Path, name: str, path: Path, known: dict[str, Entry]) -> Entry:
    seen = path.lstat()
    common = {"path": name, "mode": seen.st_mode & 0o7777, "mtime": seen.st_mtime_ns}
    if path.is_symlink():
        return Entry(**common, link=str(path.readlink()))
    if path.is_dir():
        return Entry(**common)
    former = known.get(name)
    if former and former.sha256 and (former.mtime, former.size) == (seen.st_mtime_ns, seen.st_size):
        digest = former.sha256
        if place_of(store, digest).exists():
            return Entry(**common, sha256=digest, size=seen.st_size)
    digest, size = _put(store, path)
    return Entry(**common, sha256=digest, size=size)


def _database(store: Path, name: str, place: Path) -> Entry:
    """By SQLite's own online copy, which is of one moment though others write."""
    with tempfile.TemporaryDirectory(dir=store, prefix=_SCRATCH) as scratch:
        copy = Path(scratch) / "copy.db"
        with (
            closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as out,
        ):
            source.backup(out)
        digest, size = _put(store, copy)
    return Entry(
        path=name, mode=place.stat().st_mode & 0o7777, mtime=place.stat().st_mtime_ns, sha256=digest, size=size
    )


def _put(store: Path, path: Path) -> tuple[str, int]:
    """Copy ``path`` to where its content belongs, unless that is there; hashed while it is copied."""
    (store / "objects").mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=store / "objects", prefix=".", delete=False) as out:
        draft = Path(out.name)
        try:
            with path.open("rb") as source:
                while block := source.read(1 << 20):
                    digest.update(block)
                    out.write(block)
            out.flush()
            os.fsync(out.fileno())
            target = place_of(store, digest.hexdigest())
            if target.exists() and target.stat().st_size == out.tell() and sha256(target) == digest.hexdigest():
                draft.unlink()
            else:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                draft.replace(target)
            return digest.hexdigest(), out.tell()
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _forget(store: Path, keep: int) -> None:
    """Remove all but the newest manifests, then what none of those that stay names, and drafts of killed copies."""
    for old in copies(store)[:-keep]:
        old.unlink()
    named = {entry.sha256 for copy in copies(store) for entry in read_manifest(copy).entries}
    for path in (store / "objects").glob("*"):
        if path.is_file():
            path.unlink()
            continue
        for content in path.iterdir():
            if path.name + content.name not in named:
                content.unlink()
    for left in store.glob(f"{_SCRATCH}*/"):
        shutil.rmtree(left, ignore_errors=True)
