"""What a source offers: a scene that could be fetched, and the check of its name."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, FiniteFloat

from pipelines.errors import BadData

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_BASELINE = re.compile(r"_N(\d\d)(\d\d)_")


class Quantity(BaseModel):
    """What a source's metadata says of an asset: physical value = pixel * ``scale`` + ``offset``."""

    model_config = ConfigDict(frozen=True)

    scale: FiniteFloat
    offset: FiniteFloat


class Candidate(BaseModel):
    """A scene in the source. ``hrefs`` holds one single-band file a band, or one file with all bands.

    ``earlier`` are the dates of the same ``place`` that are stacked below it, the latest first.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    datetime: datetime
    dated: bool = True  # False: the source states no date and ``datetime`` is a stand-in
    source: str  # href of the item or file, without credentials
    hrefs: tuple[str, ...]
    mask: str | None = None  # href of the classes that the cloud mask is made of
    baseline: str | None = None
    offset_applied: bool | None = None  # the catalog's claim that DN offsets were already taken out of the pixels
    quantities: tuple[Quantity | None, ...] = ()  # one for each of ``hrefs``
    place: str = ""  # the same for scenes on the same grid; "": unknown
    cloud_cover: float | None = None  # percent, as the source states it
    earlier: tuple[Candidate, ...] = ()
    fingerprint: str = ""

    @property
    def dates(self) -> tuple[Candidate, ...]:
        """The scene itself and its earlier dates."""
        return (self, *self.earlier)


class Refused(BaseModel):
    """Something in the source that cannot become a candidate, and why."""

    model_config = ConfigDict(frozen=True)

    id: str
    source: str
    reason: str
    fingerprint: str


def safe_id(id: str) -> str:
    """``id`` itself if it may name a folder. Raises ``BadData`` if not."""
    if not _ID.fullmatch(id) or ".." in id:
        raise BadData(
            f"The id {id[:200]!r} cannot name a folder: ids are 1 to 128 letters, digits, '.', '_' and '-', start with "
            "a letter or digit and hold no '..'. Rename the item at the source."
        )
    return id


def baseline_in(name: str) -> str | None:
    """The processing baseline in a name that follows ESA's products (``..._N0509_...`` is 05.09), or None."""
    found = _BASELINE.search(name)
    return f"{found[1]}.{found[2]}" if found else None


def legible(text: str) -> str:
    """``text`` as it can be written anywhere, cut where it is longer than anybody reads."""
    return text.encode("utf-8", "backslashreplace").decode()[:2000]


def digest(value: Any) -> str:
    """SHA-256 of ``value`` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def public(href: str) -> str:
    """``href`` without user, password, query and fragment: signed addresses change with every search, and leak."""
    try:
        parts = urlsplit(href)
    except ValueError:  # no address; who tries to read it says so
        return href.partition("?")[0].rpartition("@")[2]
    if not parts.netloc:
        return href
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
