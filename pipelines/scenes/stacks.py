"""Stacks: a scene of which the model sees earlier dates of the same place too, as further bands of one image."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from pipelines.config.params import Stack
from pipelines.scenes.candidate import Candidate, Refused, digest
from pipelines.scenes.dates import Dates

log = logging.getLogger(__name__)


def reaching_back(dates: Dates, stack: Stack) -> Dates:
    """``dates`` and before them the time in which earlier dates of their scenes may lie."""
    return dates if dates.first is None else dates._replace(first=dates.first - timedelta(days=stack.days))


def stacked(found: Iterable[Candidate | Refused], stack: Stack, dates: Dates) -> Iterator[Candidate | Refused]:
    """Scenes of ``dates`` with their earlier ones, the latest first; those that have too few of them are left out.

    A scene changes, and is fetched again, when an earlier date of it does or arrives late. Undated scenes, and those
    of sources that do not say on which grid they lie, are refused.
    """
    places: dict[str, list[Candidate]] = defaultdict(list)
    for one in found:
        if isinstance(one, Refused):
            yield one
        elif (reason := _unfit(one)) is not None:
            yield Refused(id=one.id, source=one.source, reason=reason, fingerprint=one.fingerprint)
        else:
            places[one.place].append(one)
    alone = 0
    for members in places.values():
        ordered = sorted(members, key=lambda one: (one.datetime, one.id))
        for number, scene in enumerate(ordered):
            if not dates.hold(scene.datetime):
                continue
            earlier = _earlier(scene, ordered[:number], stack)
            if len(earlier) < stack.dates - 1:
                alone += 1
                continue
            prints = [scene.fingerprint, *(one.fingerprint for one in earlier)]
            yield scene.model_copy(update={"earlier": earlier, "fingerprint": digest(prints)})
    if alone:
        log.info("%d scenes are left out, which lack the %d earlier dates of a stack", alone, stack.dates - 1)


def _earlier(scene: Candidate, before: Sequence[Candidate], stack: Stack) -> tuple[Candidate, ...]:
    chosen: list[Candidate] = []
    for one in reversed(before):
        if one.datetime < scene.datetime - timedelta(days=stack.days) or len(chosen) == stack.dates - 1:
            break
        gap = (chosen[-1] if chosen else scene).datetime - one.datetime
        clear = one.cloud_cover is None or one.cloud_cover <= stack.max_cloud
        if clear and gap >= timedelta(days=stack.apart):
            chosen.append(one)
    return tuple(chosen)


def _unfit(one: Candidate) -> str | None:
    if not one.dated:
        return "It states no date, so it has no place in a stack of dates; state one, or leave out params.scenes.stack."
    if not one.place:
        return "It does not say on which grid it lies, so no earlier dates are found for it; georeference it."
    return None
