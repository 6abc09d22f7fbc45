"""A command's work in a view of its own, and how its stages reach into the store meanwhile.

Without ``SWATH_STORE`` nothing here does anything, and the folders of ``settings()`` are those of this machine.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipelines.config import settings
from pipelines.config.settings import PAGE, VIEW
from pipelines.depot import cache
from pipelines.depot.store import Conflict, store
from pipelines.depot.view import METADATA, View, clear
from pipelines.errors import SwathError
from pipelines.files import alone, write_json

_ATTEMPTS = 6
_FRESH = 30  # seconds that the page may be behind
_TIDY = 3_600  # seconds between looks at what of the page's cache may go

_Result = TypeVar("_Result")
_current: View | None = None
log = logging.getLogger(__name__)


def work(name: str, body: Callable[[], _Result]) -> _Result:
    """Run ``body``, for which the folders of ``settings()`` are a view of its own, and send what it made, even where it
    raised.

    ``name`` is any text that tells it from other work; under the same one it finds hidden files again that a killed run
    left. It begins anew, from what the store then holds, where another process wrote the same metadata meanwhile.
    """
    if settings().store is None:
        return body()
    words = re.sub(r"[^A-Za-z0-9_+-]+", "-", name).strip("-")
    name = f"{words[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    for attempt in range(_ATTEMPTS):
        try:
            return _work(name, body)
        except Conflict as conflict:
            if attempt == _ATTEMPTS - 1:
                raise
            log.info("Once more: %s", conflict)
            time.sleep(random.uniform(0, 2**attempt))  # noqa: S311  nothing depends on it being unforeseen
    raise AssertionError


def bring(*places: Path, at_once: tuple[str, ...] = METADATA) -> None:
    """Have folders and JSON files as the store has them; the bytes of those with the suffixes ``at_once``."""
    if _current is not None:
        _current.bring(*places, at_once=at_once)


def send() -> None:
    """Send what was made so far, so that no more than the rest is lost if this process is killed."""
    if _current is not None:
        _current.send()


def brought(path: Path) -> Path:
    """``path``, after its bytes were brought if it lies in a view; for the page, what GDAL reads of it from the store.

    Where the store has no such object, ``path`` does not exist.
    """
    if not os.environ.get("SWATH_STORE") or (key := _key(path)) is None:
        return path
    if not path.is_symlink():
        if path.exists() or (stored := store().one(key)) is None:
            return path
        cache.link(stored, path)
    if os.environ.get(VIEW) in (None, PAGE):
        return path if path.exists() else Path("/vsis3") / store().bucket / store().name(cache.target(path).key)
    cache.fetch(cache.target(path))
    return path


def address(path: Path) -> str:
    """Where ``path`` lies for everybody: in the store, or on this machine's disk."""
    key = _key(path) if settings().store else None
    return path.as_posix() if key is None else f"{store().address}/{key}"


def named(path: Path) -> Path:
    """``path``, or the local copy where it is an address in the store, with all that lies in its folder."""
    address = re.sub(r"^s3:/+", "s3://", str(path))  # as a path it has lost a slash
    if _current is None or not address.startswith(f"{store().address}/"):
        return path
    copy = _current.root / address.removeprefix(f"{store().address}/")
    _current.bring(copy.parent if copy.suffix else copy, at_once=("",))
    return copy


def post(path: Path, value: Any) -> None:
    """Write ``value`` to a JSON file of the folders in ``settings()``, outside of any work, whatever was there."""
    write_json(path, value)
    if settings().store is not None and (key := _key(path)):
        store().put(path, key)
        path.unlink()


def look() -> None:
    """Have the view that the page shows no more than half a minute behind the store."""
    if settings().store is None:
        return
    root = _views() / PAGE
    seen = root.with_name(f".{PAGE}.seen")
    try:
        busy = "The page is being brought up to date." if seen.exists() else None
        with alone(root.with_name(f".{PAGE}.lock"), busy):
            if seen.exists() and time.time() - seen.stat().st_mtime < _FRESH:
                return
            _stream()
            view = View(root)
            view.bring(root / "catalog", root / "predictions", root / "notices")
            view.bring(root / "reports", at_once=("",))
            seen.touch()
            tidied = root.with_name(f".{PAGE}.tidied")
            if not tidied.exists() or time.time() - tidied.stat().st_mtime > _TIDY:
                cache.tidy()
                tidied.touch()
    except SwathError:
        if not seen.exists():  # what was seen last is better than nothing
            raise


def _work(name: str, body: Callable[[], _Result]) -> _Result:
    root = _views() / name
    with alone(_views() / f".{name}.lock", busy=f"Another process of this machine works in {root}; wait for it."):
        clear(root)  # after a run that was killed: what the store has is what counts
        with _entered(View(root)) as view:
            try:
                result = body()
            except Conflict:
                raise
            except Exception:
                view.send()
                raise
            view.send()
        shutil.rmtree(root, ignore_errors=True)
    cache.tidy()
    return result


@contextmanager
def _entered(view: View) -> Iterator[View]:
    global _current
    former, outer = os.environ.get(VIEW), _current
    assert outer is None, "A command works in one view."
    view.root.mkdir(parents=True, exist_ok=True)
    _current, os.environ[VIEW] = view, view.root.name
    try:
        yield view
    finally:
        _current = outer
        if former is None:
            del os.environ[VIEW]
        else:
            os.environ[VIEW] = former


def _views() -> Path:
    return settings().home / "depot" / "views"


def _key(path: Path) -> str | None:
    """The name of the object of ``path``, which may be a link; ``None`` outside of views."""
    if not path.is_relative_to(views := _views()):
        return None
    return "/".join(path.relative_to(views).parts[1:])


def _stream() -> None:
    """Let GDAL read rasters of the store in part. Set in the environment, where all threads see it."""
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_NON_CACHED": f"/vsis3/{store().bucket}"}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        parts = urlsplit(endpoint)
        options |= {"AWS_S3_ENDPOINT": parts.netloc, "AWS_VIRTUAL_HOSTING": "FALSE"}
        options["AWS_HTTPS"] = "YES" if parts.scheme == "https" else "NO"
    os.environ.update(options)
