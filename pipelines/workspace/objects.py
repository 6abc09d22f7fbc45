"""Objects of DVC's cache, which are named by the hash of their bytes. DVC itself trusts one that is there."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from pipelines.config import settings
from pipelines.files import read_json

log = logging.getLogger(__name__)

_DIR = ".dir"  # ending of the hash of a folder, whose object lists the files in it

Output = dict[str, Any]  # an entry of `outs` in dvc.lock or a .dvc file


def drafts(store: Path) -> Iterator[Path]:
    """What DVC is copying into a cache or a remote folder, or began to."""
    for pattern in (".*.tmp", "files/md5/.*.tmp", "files/md5/*/.*.tmp"):
        yield from store.glob(pattern)


def tracked_by(file: Path) -> list[Output]:
    """What a ``.dvc`` file tracks."""
    return list(yaml.safe_load(file.read_text(encoding="utf-8"))["outs"])


def in_cache(output: Output) -> bool:
    """Whether this machine's cache has the object of ``output``, and of a folder all that are in it."""
    return _there(settings().dvc_cache / "files" / "md5", str(output["md5"]))


def _there(store: Path, name: str) -> bool:
    file = store / name[:2] / name[2:]
    if not file.is_file():
        return False
    if not name.endswith(_DIR):
        return True
    try:
        return all(_there(store, entry["md5"]) for entry in read_json(file))
    except ValueError:  # damaged
        return False


def discard_damaged(outputs: Iterable[Output]) -> list[str]:
    """Remove from this machine's cache every object of ``outputs`` whose bytes are not those of its name, so that DVC
    gets or makes it anew; returns the paths of the outputs concerned. Reads all of their bytes.
    """
    store, concerned = settings().dvc_cache / "files" / "md5", []
    for output in outputs:
        for file in damaged(store, str(output["md5"])):
            log.warning("%s, an object of %s, is damaged and is removed; it comes anew.", file, output["path"])
            file.unlink()
            concerned.append(str(output["path"]))
    return list(dict.fromkeys(concerned))


def damaged(store: Path, name: str) -> Iterator[Path]:
    """The objects that the hash ``name`` stands for and ``store`` has with other bytes; a folder's own comes first."""
    file = store / name[:2] / name[2:]
    if not file.is_file():
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != name.removesuffix(_DIR):
        yield file
    elif name.endswith(_DIR):
        for entry in read_json(file):
            yield from damaged(store, entry["md5"])
