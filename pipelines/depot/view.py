"""Folders with links to what the store holds, and what a command made of them.

A link leads to the bytes of an object in this machine's cache, or to where these will be: metadata come at once, pixels
when somebody reads them. What is no link was made here, a link under another name was moved, one that is gone removed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from pipelines.depot import cache
from pipelines.depot.store import AT_ONCE, Stored, store

METADATA = (".json", ".xml")  # XML: what GDAL keeps beside a raster
_INDICES = ("catalog.json", "plan.json", "result.json", "shard-", "verdict.json")  # they speak of other files


class View:
    """The folder ``root``, in which each file has the name that its object has in the store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[str, Stored] = {}

    def bring(self, *places: Path, at_once: tuple[str, ...] = METADATA) -> None:
        """Have links to all objects in folders and JSON files below the root, and the bytes of those with the suffixes
        ``at_once``. What the store does not hold any more goes.

        Files come before folders, and of an index what was seen first counts: it is never newer than what it lists.
        """
        keys = [place.relative_to(self.root).as_posix() for place in places]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            listed = [found for found in pool.map(store().one, filter(_is_file, keys)) if found]
            for found in pool.map(_listed, [key for key in keys if not _is_file(key)]):
                listed += found
            list(pool.map(cache.fetch, [stored for stored in listed if stored.key.endswith(at_once)]))
        there = {stored.key for stored in listed}
        changed = [self.root / stored.key for stored in listed if cache.link(stored, self.root / stored.key)]
        for place in places:
            for path in [place] if place.is_symlink() else files(place):
                if path.is_symlink() and path.relative_to(self.root).as_posix() not in there:
                    path.unlink()
                    changed.append(path)
        self._touch(changed)
        indices = {key: stored for key, stored in self._seen.items() if key.endswith("/catalog.json")}
        self._seen = {key: stored for key, stored in self._seen.items() if not _within(key, keys)}
        self._seen |= {stored.key: stored for stored in listed} | indices

    def send(self) -> None:
        """Do in the store what was done here since it was brought, so that it may be ended at any moment.

        A file comes before what speaks of it: in each folder rasters and tables, then metadata, items, and when all
        folders are through indices and receipts. So a scene that replaces another is mixed for one copy, not for all.
        Raises ``Conflict`` where metadata that were to be replaced have changed in the store meanwhile.
        """
        found = {path.relative_to(self.root).as_posix(): path for path in files(self.root)}
        made = {key: path for key, path in found.items() if not cache.is_link(path, key)}
        gone = [key for key in self._seen if key not in found]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            folders = groupby(sorted(made, key=_folder), key=_folder)
            list(pool.map(self._send_folder, [[key for key in keys if _rank(key) < 3] for _, keys in folders]))
        store().delete(key for key in gone if _rank(key) < 3)
        for key in sorted((key for key in made if _rank(key) == 3), key=lambda key: made[key].lstat().st_mtime_ns):
            self._send(key)
        store().delete(key for key in gone if _rank(key) == 3)
        for key in gone:
            del self._seen[key]

    def _send_folder(self, keys: list[str]) -> None:
        for key in sorted(keys, key=_rank):
            self._send(key)

    def _send(self, key: str) -> None:
        path, former = self.root / key, self._seen.get(key)
        if path.is_symlink():
            self._seen[key] = cache.moved(path, store().copy(cache.target(path), key))
        else:
            sent = store().exchange(path, key, former) if path.suffix == ".json" else store().put(path, key)
            self._seen[key] = cache.keep(path, sent)

    def _touch(self, changed: Collection[Path]) -> None:
        """Touch the folders above what changed, by whose times the page sees that it has to look again."""
        above = {folder for path in changed for folder in path.parents if folder.is_relative_to(self.root)}
        for folder in sorted(above, key=lambda folder: -len(folder.parts)):
            if not folder.is_dir():
                continue
            if folder == self.root or any(folder.iterdir()):
                os.utime(folder)
            else:
                folder.rmdir()


def clear(root: Path) -> None:
    """Remove what ``files`` gives, and the folders that are empty then."""
    for top, folders, names in os.walk(root, topdown=False):
        if any(part.startswith(".") for part in Path(top).relative_to(root).parts):
            continue
        for name in names:
            if not name.startswith("."):
                (Path(top) / name).unlink()
        for name in folders:
            with suppress(OSError):  # a hidden file is left in it
                (Path(top) / name).rmdir()


def files(folder: Path) -> Iterator[Path]:
    """All files and links below ``folder``, but hidden ones and what lies in hidden folders: drafts and locks."""
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(top) / name for name in names if not name.startswith("."))


def _is_file(key: str) -> bool:
    return key.endswith(".json")


def _listed(key: str) -> list[Stored]:
    return list(store().folder(key))


def _within(key: str, keys: Collection[str]) -> bool:
    return any(key == one or key.startswith(f"{one}/") for one in keys)


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _rank(key: str) -> int:
    """When it is sent, 0 first."""
    folder, _, name = key.rpartition("/")
    if not name.endswith(".json"):
        return 0
    if name.startswith(_INDICES):
        return 3
    return 2 if name in ("item.json", f"{folder.rpartition('/')[2]}.json") else 1
