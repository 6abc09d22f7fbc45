"""A range of acquisition times, open at either end."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, Self

from pipelines.errors import BadData

_DATE = re.compile(r"(?<!\d)(19[7-9]\d|20\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


class Dates(NamedTuple):
    """First and last moment, both included; None is open."""

    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, dates: tuple[date, date] | None, since: str | None = None, until: str | None = None) -> Self:
        """Whole days ``dates``; ``since`` and ``until``, ISO dates or times, override either end."""
        first, last = (d.isoformat() for d in dates) if dates else (None, None)
        return cls(_moment(since or first, time.min), _moment(until or last, time.max))

    def hold(self, when: datetime) -> bool:
        return (self.first is None or when >= self.first) and (self.last is None or when <= self.last)

    def meet(self, first: datetime, last: datetime) -> bool:
        """Whether some of the time from ``first`` to ``last`` is asked for."""
        return (self.first is None or last >= self.first) and (self.last is None or first <= self.last)

    def interval(self) -> str | None:
        """As STAC APIs want it; None where both ends are open."""
        if self.first is None and self.last is None:
            return None
        return "/".join(f"{d:%Y-%m-%dT%H:%M:%SZ}" if d else ".." for d in self)


def from_file(tag: str | None, name: str) -> datetime | None:
    """Acquisition time of a GeoTIFF: its TIFFTAG_DATETIME, or a YYYYMMDD in its name where the two are more than a day
    apart, since the tag may also be of an export; None where there is neither.
    """
    named, tagged = _in_name(name), _in_tag(tag)
    if named and tagged:
        return tagged if abs(tagged - named) < timedelta(days=2) else named  # clocks of two time zones
    return tagged or named


def _in_name(name: str) -> datetime | None:
    for match in _DATE.finditer(name):
        with suppress(ValueError):
            found = datetime(int(match[1]), int(match[3]), int(match[4]), tzinfo=UTC)
            if found < datetime.now(UTC) + timedelta(days=2):  # or it is a number, such as where a tile begins
                return found
    return None


def _in_tag(tag: str | None) -> datetime | None:
    try:
        return datetime.strptime((tag or "").strip(), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _moment(text: str | None, end: time) -> datetime | None:
    if text is None:
        return None
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), end, UTC)
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadData(
            f"{text[:100]!r} is no ISO date or time; give one such as 2024-07-01 or 2024-07-01T10:00:00Z."
        ) from None
