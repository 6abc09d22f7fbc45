"""Comparing what arrived with what the model was trained on, scene by scene and group by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import permutations

from pydantic import BaseModel, ConfigDict

from pipelines.config.params import Drift
from pipelines.monitoring.distance import cross_distance, distance, is_category, quantile
from pipelines.monitoring.features import watched
from pipelines.monitoring.profile import Profile, merged
from pipelines.monitoring.reference import Match, Reference, group_key, group_name

MARGIN = 1.25
"""A scene may lie this much farther from the reference than the reference's scenes lie from each other."""
CEILING = 0.95
"""Distances crowd together below 1; a limit above this could never be passed."""


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
    exact: bool = False  # the reference is of the same season and zone
    distances: dict[str, float] = {}  # empty: too few pixels, or no reference
    limits: dict[str, float] = {}
    medians: dict[str, tuple[float, float]] = {}  # here and in the reference; measures only
    exchanged: tuple[tuple[str, str], ...] = ()  # pairs of bands that look like each other's reference

    @property
    def odd(self) -> dict[str, float]:
        """Features beyond their limit, with how many times the limit."""
        return {f: d / self.limits[f] for f, d in self.distances.items() if d > self.limits[f]}


class Comparison(BaseModel):
    """All scenes that the model of ``version`` mapped, and their groups, each compared."""

    model_config = ConfigDict(frozen=True)

    version: str
    has_reference: bool
    scenes: tuple[Compared, ...]
    groups: tuple[Compared, ...]


def compare(profiles: Sequence[Profile], references: Sequence[Reference], version: str, params: Drift) -> Comparison:
    """Compare the profiles of scenes with the references: of inputs first, then of outputs; either may be absent.

    A feature is judged by the first reference that has it.
    """
    groups: dict[tuple[str | None, str | None], list[Profile]] = defaultdict(list)
    for profile in profiles:
        groups[group_key(profile.facts, params.by)].append(profile)
    scenes, together = [], []
    for key in sorted(groups, key=str):
        members = sorted(groups[key], key=lambda p: (p.facts.when, p.facts.scene or ""))
        name = group_name(key)
        scenes += [_compared(p.facts.scene or "?", name, p, references, params) for p in members]
        together.append(_compared(name, name, merged(latest(members, params)), references, params))
    return Comparison(version=version, has_reference=bool(references), scenes=tuple(scenes), groups=tuple(together))


def latest(members: Sequence[Profile], params: Drift) -> list[Profile]:
    """The last scenes of a group, twice ``min_scenes``, and all of the same moment as the first of them."""
    ordered = sorted(members, key=lambda p: p.facts.when)
    since = ordered[max(len(ordered) - 2 * params.min_scenes, 0)].facts.when
    return [p for p in ordered if p.facts.when >= since]


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
    medians: dict[str, tuple[float, float]] = {}
    for feature in watched(profile.view.get_columns()):
        match = next((m for m in matches if m.profile.view.get_column(feature) is not None), None)
        found = distance(feature, profile.view, match.profile.view) if match else None
        if match is None or found is None:
            continue
        distances[feature] = round(found, 6)
        limits[feature] = round(min(max(params.threshold, MARGIN * match.spread.get(feature, 0.0)), CEILING), 6)
        if not is_category(feature, match.profile.view):
            medians[feature] = (quantile(feature, profile.view, 0.5), quantile(feature, match.profile.view, 0.5))
    worst = min(matches, key=lambda m: len(m.shared))
    return base.model_copy(
        update={
            "shared": worst.shared,
            "exact": all(m.exact for m in matches),
            "distances": distances,
            "limits": limits,
            "medians": medians,
            "exchanged": _exchanged(profile, matches[0], distances, limits),
        }
    )


def _exchanged(
    profile: Profile, match: Match, distances: dict[str, float], limits: dict[str, float]
) -> tuple[tuple[str, str], ...]:
    odd = [f for f in distances if f.startswith("band.") and distances[f] > limits[f]]
    odd = [f for f in odd if match.profile.view.get_column(f) is not None]
    near = {
        (a, b)
        for a, b in permutations(odd, 2)
        if cross_distance(a, profile.view, b, match.profile.view) < distances[a] / 2
    }
    return tuple(sorted((a, b) for a, b in near if a < b and (b, a) in near))
