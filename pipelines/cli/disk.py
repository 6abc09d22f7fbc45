"""A full disk, whichever library met it first."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import is_full
from pipelines.secrets import without_secrets

_FULL = re.compile(r"no space left|out of disk ?space|disk quota exceeded|disk is full", re.IGNORECASE)


def full_disk(error: BaseException) -> str | None:
    """What to do about ``error`` if a full disk is behind it; ``None`` if it is about something else."""
    try:
        home = settings().home
    except SwathError:  # which may be the very error that is asked about
        return None
    if is_full(home):  # GDAL may say no more than that writing failed
        return _sentence(error, home)
    for one in _chain(error):
        if (isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT)) or _FULL.search(str(one)):
            return _sentence(one, home)
    return None


def _sentence(error: BaseException, home: Path) -> str:
    said = without_secrets(" ".join(str(error).split()))  # in one line, for that is what a task's error shows
    return (
        f"No space is left on a disk ({said}). Make room, as `swath maintain --days 7` does in {home}, and run this "
        "again."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
