"""Comparing what arrived with what the model was trained on, scene by scene and group by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import permutations
from typing import Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipelines.config.params import Drift
from pipelines.monitoring.distance import cross_distance, distance, histogram, is_category, quantile, shares
from pipelines.monitoring.features import watched
from pipelines.monitoring.limits import shared_share
from pipelines.monitoring.profile import Facts, Profile, merged
from pipelines.monitoring.reference import Match, Reference, group_key, group_name
from pipelines.monitoring.whylogs_compat import DatasetProfileView

DRAWN = 6
"""Features of a group whose histograms go into the report."""


class Histogram(BaseModel):
    """Shares of values here and in the reference, by category or between edges."""

    model_config = ConfigDict(frozen=True)

    categories: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    here: tuple[float, ...]
    usual: tuple[float, ...]


class Compared(BaseModel):
    """One profile, of a scene or of a group, beside its reference. Distances and limits are Hellinger, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    name: str
    group: str
    when: datetime
    scenes: int
    pixels: int
    nodata_share: float
    cloud_share: float
    shared: tuple[str, ...] = ()  # what the reference has in common: season, zone
    exact: bool = False  # all references are of the same season and zone
    exact_features: tuple[str, ...] = ()  # judged by a reference of the same season and zone
    distances: dict[str, float] = {}  # empty: too few pixels, or no reference
    limits: dict[str, float] = {}
    agreed_limits: dict[str, float] = {}  # lower: beyond them lies what is odd if several scenes agree in it
    medians: dict[str, tuple[float, float]] = {}  # here and in the reference; measures only
    histograms: dict[str, Histogram] = {}  # of a group's odd scenes: the worst features first
    exchanged: tuple[tuple[str, str], ...] = ()  # pairs of bands that look like each other's reference

    @property
    def odd(self) -> dict[str, float]:
        """Features beyond their limit, with how many times the limit."""
        return {f: d / self.limits[f] for f, d in self.distances.items() if d > self.limits[f]}

    @property
    def suspect(self) -> dict[str, float]:
        """Features that are odd if several scenes agree in them, with how many times the limit of one scene."""
        lower = self.limits | self.agreed_limits
        return {f: d / self.limits[f] for f, d in self.distances.items() if d > lower[f]}


class Comparison(BaseModel):
    """All scenes that the model of ``version`` mapped, and their groups, each compared; no model, no scenes."""

    model_config = ConfigDict(frozen=True)

    version: str | None
    has_reference: bool
    scenes: tuple[Compared, ...]
    groups: tuple[Compared, ...]


class Known(Protocol):
    """A scene of which the facts are known, such as its profile."""

    @property
    def facts(self) -> Facts: ...


AnyKnown = TypeVar("AnyKnown", bound=Known)


def grouped(profiles: Iterable[AnyKnown], params: Drift) -> dict[str, list[AnyKnown]]:
    """Scenes by the name of their group, such as ``winter-21S``; the earliest first."""
    groups: dict[str, list[AnyKnown]] = defaultdict(list)
    for profile in sorted(profiles, key=lambda p: (p.facts.when, p.facts.scene or "")):
        groups[group_name(group_key(profile.facts, params.by))].append(profile)
    return dict(sorted(groups.items()))


def latest(members: Sequence[AnyKnown], params: Drift) -> list[AnyKnown]:
    """The last scenes of a group, twice ``min_scenes``, and all of the same moment as the first of them."""
    ordered = sorted(members, key=lambda p: p.facts.when)
    since = ordered[max(len(ordered) - 2 * params.min_scenes, 0)].facts.when
    return [p for p in ordered if p.facts.when >= since]


def compare(
    groups: Iterable[tuple[str, Sequence[Profile]]], references: Sequence[Reference], version: str | None, params: Drift
) -> Comparison:
    """Compare scenes and the latest of each group with the references: of inputs, then of outputs; either may lack.

    ``groups`` are the items of what ``grouped`` gives, taken one after another. A feature is judged by the first
    reference that has it.
    """
    scenes, wholes = [], []
    for name, members in groups:
        own = [_compared(p.facts.scene or "?", name, p, references, params) for p in members]
        recent = merged(latest(members, params))
        whole = _compared(name, name, recent, references, params)
        suspect = [p for p, compared in zip(members, own, strict=True) if compared.suspect]
        drawn = _histograms(merged(suspect) if suspect else recent, [whole, *own], references)
        scenes += own
        wholes.append(whole.model_copy(update={"histograms": drawn}))
    return Comparison(version=version, has_reference=bool(references), scenes=tuple(scenes), groups=tuple(wholes))


def _compared(name: str, group: str, profile: Profile, references: Sequence[Reference], params: Drift) -> Compared:
    facts = profile.facts
    base = Compared(
        name=name,
        group=group,
        when=facts.when,
        scenes=facts.scenes,
        pixels=facts.pixels,
        nodata_share=facts.nodata_share,
        cloud_share=facts.cloud_share,
    )
    if facts.pixels < params.min_pixels or not references:
        return base
    matches = [reference.match(facts) for reference in references]
    distances: dict[str, float] = {}
    limits: dict[str, float] = {}
    agreed: dict[str, float] = {}
    medians: dict[str, tuple[float, float]] = {}
    exact: list[str] = []
    found: dict[str, tuple[float, Match]] = {}
    for feature in watched(profile.view.get_columns()):
        match = next((m for m in matches if m.profile.view.get_column(feature) is not None), None)
        far = distance(feature, profile.view, match.profile.view) if match else None
        if match is not None and far is not None:
            found[feature] = far, match
    for feature, (far, match) in found.items():
        exact += [feature] if match.exact else []
        distances[feature] = round(far, 6)
        single = params.false_alarms / len(found)
        limits[feature] = round(_limit(feature, match, facts, single, params), 6)
        shared = _limit(feature, match, facts, shared_share(single, params.min_scenes), params)
        agreed[feature] = min(round(shared, 6), limits[feature])  # one scene agrees with itself
        if not is_category(feature, match.profile.view):
            medians[feature] = (quantile(feature, profile.view, 0.5), quantile(feature, match.profile.view, 0.5))
    worst = min(matches, key=lambda m: len(m.shared))
    return base.model_copy(
        update={
            "shared": worst.shared,
            "exact": all(m.exact for m in matches),
            "exact_features": tuple(exact),
            "distances": distances,
            "limits": limits,
            "agreed_limits": agreed,
            "medians": medians,
            "exchanged": _exchanged(profile, matches[0], distances, params.threshold),
        }
    )


def _limit(feature: str, match: Match, facts: Facts, false_alarms: float, params: Drift) -> float:
    if feature in match.usual:
        clear = (1 - facts.nodata_share) * (1 - facts.cloud_share)
        return match.usual[feature].limit(false_alarms, facts.pixels, clear)
    return params.threshold


def _histograms(
    profile: Profile, compared: Sequence[Compared], references: Sequence[Reference]
) -> dict[str, Histogram]:
    severity: dict[str, float] = {}
    for one in compared:
        for feature, times in one.suspect.items():
            severity[feature] = max(severity.get(feature, 0.0), times)
    views = [reference.match(profile.facts).profile.view for reference in references]
    drawn = {}
    for feature in sorted(severity, key=lambda f: -severity[f])[:DRAWN]:
        # together the scenes may be usual for a group that lacks what one of their own groups has
        view = next((v for v in views if v.get_column(feature) is not None), None)
        if view is not None:
            drawn[feature] = _histogram(feature, profile, view)
    return drawn


def _histogram(feature: str, profile: Profile, reference: DatasetProfileView) -> Histogram:
    if is_category(feature, reference):
        here, usual = shares(feature, profile.view), shares(feature, reference)
        names = sorted(here.keys() | usual.keys())
        return Histogram(
            categories=tuple(names),
            here=tuple(here.get(n, 0.0) for n in names),
            usual=tuple(usual.get(n, 0.0) for n in names),
        )
    ends = [quantile(feature, view, at) for view in (profile.view, reference) for at in (0.005, 0.995)]
    edges = np.linspace(min(ends), max(max(ends), min(ends) + 1e-6), 33)
    shape = [histogram(feature, view, edges)[1:-1] for view in (profile.view, reference)]
    return Histogram(edges=tuple(edges), here=tuple(shape[0]), usual=tuple(shape[1]))


def _exchanged(
    profile: Profile, match: Match, distances: dict[str, float], least: float
) -> tuple[tuple[str, str], ...]:
    far = [f for f in distances if f.startswith("band.") and distances[f] > least]
    far = [f for f in far if match.profile.view.get_column(f) is not None]
    near = {
        (a, b)
        for a, b in permutations(far, 2)
        if cross_distance(a, profile.view, b, match.profile.view) < distances[a] / 2
    }
    return tuple(sorted((a, b) for a, b in near if a < b and (b, a) in near))
