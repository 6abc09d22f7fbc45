"""The state out of a copy, where there is none."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.config import settings
from pipelines.errors import BadData, SwathError
from pipelines.files import read_json, replacing, write_json
from pipelines.upkeep.backup import copies, place_of, read_manifest
from pipelines.upkeep.trees import Entry, Manifest, trees

# Where MLflow writes down where artifacts lie.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


def restore(copy: Path) -> Manifest:
    """Bring back what ``copy``, a manifest or the folder of the newest one, holds, to where the settings say.

    Nothing is written over: raises ``BadData`` where one of the places holds something, or the copy is not whole.
    Killed, it goes on where it was when it is asked again.
    """
    path = _chosen(copy)
    manifest = read_manifest(path)
    _require_whole(path.parent, manifest)
    began = settings().home / "restore.json"
    taken_up = began.exists() and read_json(began) == {"copy": str(path)}
    places = trees()
    if missing := sorted({_tree_of(entry, places) for entry in manifest.entries} - set(places)):
        raise BadData(f"The copy has {', '.join(missing)}, for which the settings name a store that is no folder.")
    if not taken_up and (full := [place for place in places.values() if _holds_something(place)]):
        raise BadData(f"{full[0]} holds something already; restore into a new SWATH_HOME, or move it away first.")
    write_json(began, {"copy": str(path)})
    for name, place in places.items():
        entries = [entry for entry in manifest.entries if _tree_of(entry, places) == name]
        if entries and not _holds_something(place):
            with replacing(place.resolve()) as draft:  # which may be a link to a larger disk
                _write(path.parent, entries, name, draft)
                if name == "mlflow/mlflow.db":
                    _move_addresses(draft, Path(manifest.home), settings().home)
    began.unlink()
    return manifest


def _chosen(copy: Path) -> Path:
    if copy.is_file():
        return copy
    if not (found := copies(copy)):
        raise BadData(f"{copy} holds no copy that was finished; name the folder that `swath backup` wrote to.")
    return found[-1]


def _require_whole(store: Path, manifest: Manifest) -> None:
    for entry in manifest.entries:
        if entry.sha256 is not None:
            content = place_of(store, entry.sha256)
            if not content.is_file() or content.stat().st_size != entry.size:
                raise BadData(f"The copy is not whole: {content}, which is {entry.path}, is missing or cut off.")


def _tree_of(entry: Entry, places: dict[str, Path]) -> str:
    """The name of the tree that the entry belongs to; its own first part where the settings have no such tree."""
    return next((name for name in places if f"{entry.path}/".startswith(f"{name}/")), entry.path.split("/")[0])


def _holds_something(place: Path) -> bool:
    return place.is_file() or (place.is_dir() and any(place.iterdir()))


def _write(store: Path, entries: list[Entry], name: str, draft: Path) -> None:
    folders = []
    for entry in entries:
        target = draft / entry.path.removeprefix(name).removeprefix("/")
        if not target.parent.resolve().is_relative_to(draft.parent.resolve()):
            raise BadData(f"The copy names {entry.path}, which would lie outside of {name}; it is not one of ours.")
        if entry.link is not None:
            target.symlink_to(entry.link)
        elif entry.sha256 is None:
            target.mkdir(parents=True)
            folders.append((target, entry))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(place_of(store, entry.sha256), target, entry)
    for target, entry in reversed(folders):  # a folder's time is that of its last new file
        target.chmod(entry.mode)
        os.utime(target, ns=(entry.mtime, entry.mtime))


def _copy(content: Path, target: Path, entry: Entry) -> None:
    shutil.copyfile(content, target)
    with target.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != entry.sha256:
        raise SwathError(f"{content} is not what was copied (its sha256 differs); take another copy than this one.")
    target.chmod(entry.mode)
    os.utime(target, ns=(entry.mtime, entry.mtime))


def _move_addresses(database: Path, former: Path, home: Path) -> None:
    """MLflow keeps whole addresses of artifacts; those below the former ``SWATH_HOME`` are now below this one."""
    if former == home:
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in _ADDRESSES:
            for old, new in ((former.as_uri(), home.as_uri()), (str(former), str(home))):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
