"""Trials: streams of scenes, some of them changed, each judged by the watch.

A stream is what the verdict looks at: the latest ``2 * min_scenes`` scenes of a group. Of a changed stream the last
``min_scenes`` are changed, which is the first moment at which the rules allow a drift to be declared.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.drifting.changes import KINDS, Kind
from benchmarks.drifting.look import Look
from benchmarks.drifting.network import Network, confusion
from benchmarks.drifting.watch import Watch
from pipelines.config.params import Drift
from pipelines.monitoring.profile import Facts, Profile
from pipelines.monitoring.reference import group_key, group_name
from pipelines.monitoring.verdict import Word

USUAL, ELSEWHERE = "nothing", "nothing, other ground"


@dataclass
class Tried:
    """What came of one kind and strength in one world."""

    world: str
    kind: str
    strength: float
    odd: list[bool] = field(default_factory=list)  # by scene
    verdicts: list[Word] = field(default_factory=list)  # by stream
    features: list[str] = field(default_factory=list)  # those that a verdict of drift named first
    counts: NDArray[np.int64] | None = None  # confusion of the changed scenes
    before: NDArray[np.int64] | None = None  # of the same scenes unchanged

    def see(self, before: NDArray[np.int64] | None, after: NDArray[np.int64] | None) -> None:
        if before is not None and after is not None:
            self.before = before if self.before is None else self.before + before
            self.counts = after if self.counts is None else self.counts + after


def declared(one: Tried) -> list[bool]:
    """By stream, whether the verdict was drift."""
    return [verdict == "drift" for verdict in one.verdicts]


@dataclass(frozen=True)
class Mapped:
    """A look, its profile, and how right its map is, where there is a network."""

    look: Look
    profile: Profile
    counts: NDArray[np.int64] | None


def mapped(look: Look, watch: Watch, network: Network | None) -> Mapped:
    probabilities = network(look) if network else None
    counts = None if probabilities is None else confusion(look, probabilities)
    return Mapped(look, watch.profile(look, probabilities), counts)


def streams(looks: Sequence[Look], params: Drift) -> list[list[Look]]:
    """Looks of one group by date, in pieces that share none."""
    groups: dict[str, list[Look]] = defaultdict(list)
    for look in sorted(looks, key=lambda each: each.datetime):
        usable = (1 - look.nodata_share) * (1 - look.cloud_share) * look.mask.size
        if usable > 2 * params.min_pixels:
            facts = Facts(season=look.season, zone=look.zone)
            groups[group_name(group_key(facts, params.by))].append(look)
    length = 2 * params.min_scenes
    return [g[i : i + length] for g in groups.values() for i in range(0, len(g) - length + 1, length)]


def try_usual(world: str, kind: str, looks: Sequence[Look], watch: Watch, network: Network | None) -> Tried:
    """Streams in which nothing is changed."""
    tried = Tried(world, kind, 0.0)
    for stream in streams(looks, watch.params):
        comparison, verdict = watch.judged([mapped(look, watch, network).profile for look in stream])
        tried.odd += [bool(scene.odd) for scene in comparison.scenes]
        tried.verdicts.append(verdict.verdict)
        tried.features += [f for scene in comparison.scenes for f in scene.odd]
    return tried


def try_changes(
    world: str,
    chosen: Sequence[Sequence[Look]],
    watch: Watch,
    network: Network | None,
    ahead: Callable[[Look, float], Look] | None,
    kinds: Sequence[Kind] = KINDS,
) -> list[Tried]:
    """Each of ``kinds`` at every strength in each of the ``chosen`` streams; ``ahead`` renders another season."""
    tried = {(kind.name, s): Tried(world, kind.name, s) for kind in kinds for s in kind.strengths}
    for stream in chosen:
        first = [mapped(look, watch, network) for look in stream]
        usual, last = first[: -watch.params.min_scenes], first[-watch.params.min_scenes :]
        for kind in kinds:
            change = kind.change
            if change is None and ahead is None:
                continue
            for strength in kind.strengths:
                one = tried[kind.name, strength]
                changed = []
                for before in last:
                    rng = np.random.default_rng(zlib.crc32(f"{before.look.id} {kind.name}".encode()))
                    look = before.look
                    look = change(look, strength, rng) if change else ahead(look, strength) if ahead else look
                    changed.append(mapped(look, watch, network))
                    one.see(before.counts, changed[-1].counts)
                comparison, verdict = watch.judged([m.profile for m in (*usual, *changed)])
                names = {m.look.id for m in last}
                one.odd += [bool(scene.odd) for scene in comparison.scenes if scene.name in names]
                one.verdicts.append(verdict.verdict)
                one.features += list(verdict.features[:1]) if verdict.verdict == "drift" else []
    return [one for one in tried.values() if one.verdicts]
