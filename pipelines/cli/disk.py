"""A full disk, whichever library met it first."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from pipelines.config import settings

_FULL = re.compile(r"no space left on device|disk quota exceeded|disk is full", re.IGNORECASE)  # of GDAL, SQLite, DVC


def full_disk(error: BaseException) -> str | None:
    """What to do about ``error`` if a full disk is behind it; ``None`` if it is about something else."""
    for one in _chain(error):
        if (isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT)) or _FULL.search(str(one)):
            return (
                f"No space is left on a disk ({one}). Make room, as `swath maintain --days 7` does in "
                f"{settings().home}, and run this again."
            )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
