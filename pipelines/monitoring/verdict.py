"""From distances to a verdict, and from a verdict to at most one call for training a cooldown."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.config.params import Drift
from pipelines.files import read_json, write_json
from pipelines.monitoring.drift import Compared, Comparison
from pipelines.monitoring.features import plain

Word = Literal["none", "warning", "drift", "no reference", "no sample"]


class GroupVerdict(BaseModel):
    """What became of one season and zone. ``features``: those that made it so, the worst first."""

    model_config = ConfigDict(frozen=True)

    group: str
    verdict: Word
    sentence: str
    scenes: tuple[str, ...]  # the odd ones
    features: tuple[str, ...]

    def blamed(self, scene: Compared) -> set[str]:
        """The features of ``scene`` that lie beyond their limit, or beyond the lower one in a drift that it shares."""
        agreed = self.features if self.verdict == "drift" and scene.name in self.scenes else ()
        return {*scene.odd, *(feature for feature in agreed if feature in scene.suspect)}


class Verdict(BaseModel):
    """``none``: as usual. ``warning``: one odd scene, or no comparable reference. ``drift``: it persists.

    ``no sample``: no scene has enough usable pixels. ``no reference``: the model came without one.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Word
    sentence: str
    version: str | None
    features: tuple[str, ...]  # at most five, the worst first
    groups: tuple[GroupVerdict, ...]


def judge(comparison: Comparison, params: Drift) -> Verdict:
    """The verdict on all groups, by these rules.

    A scene is odd where a feature lies beyond its limit. A group drifts where, among its latest ``2 * min_scenes``
    scenes, ``min_scenes`` lie beyond the lower limits of ``agreed_limits`` in one and the same feature. Fewer odd
    scenes, a group that is odd only as a whole, or oddness against a reference of another season or zone, is a warning.
    """
    groups = tuple(_group(whole, comparison, params) for whole in comparison.groups)
    word: Word = "no sample"
    if comparison.scenes and not comparison.has_reference:
        word = "no reference"
    elif groups:
        order: tuple[Word, ...] = ("drift", "warning", "none", "no sample")
        word = min((g.verdict for g in groups), key=order.index)
    worst: dict[str, float] = {}
    for compared in (*comparison.scenes, *comparison.groups):
        for feature, times in compared.suspect.items():
            worst[feature] = max(worst.get(feature, 0.0), times)
    named = {feature for g in groups if g.verdict == word for feature in g.features}
    features = tuple(sorted(named, key=lambda feature: -worst.get(feature, 0.0)))[:5]
    return Verdict(
        verdict=word,
        sentence=_sentence(word, groups, comparison),
        version=comparison.version,
        features=features,
        groups=groups,
    )


def _group(whole: Compared, comparison: Comparison, params: Drift) -> GroupVerdict:
    members = [s for s in comparison.scenes if s.group == whole.group]
    recent = sorted(members, key=lambda s: s.when)[-whole.scenes :]
    odd = [s for s in recent if s.odd]
    votes = Counter(feature for s in recent for feature in s.suspect if feature in s.exact_features)
    # Of many scenes of one moment a few are odd by chance, so half of them must agree.
    needed = max(params.min_scenes, len(recent) / 2)
    agreed = [feature for feature, count in votes.items() if count >= needed]
    if agreed:
        alike = [s for s in recent if any(feature in s.suspect for feature in agreed)]
        severity = {f: max(s.suspect.get(f, 0.0) for s in alike) for f in agreed}
        features = tuple(sorted(agreed, key=lambda f: -severity[f]))
        sentence = (
            f"{len(alike)} of the latest {len(recent)} scenes lie beyond the limit, foremost in {plain(features[0])}."
        )
        names = tuple(s.name for s in alike)
        return GroupVerdict(group=whole.group, verdict="drift", sentence=sentence, scenes=names, features=features)
    names = tuple(s.name for s in odd)
    odd_features = whole.odd if not odd else {f: max(s.odd.get(f, 0.0) for s in odd) for s in odd for f in s.odd}
    features = tuple(sorted(odd_features, key=lambda f: -odd_features[f]))
    if odd or whole.odd:
        if not any(feature in s.exact_features for s in (odd or [whole]) for feature in s.odd):
            has = " and ".join((odd or [whole])[0].shared) or "neither season nor zone"
            sentence = f"Unusual, but the only reference at hand shares {has} with it."
        elif odd:
            sentence = f"Odd: {len(odd)} of the latest {len(recent)} scenes; {params.min_scenes} alike make a drift."
        else:
            sentence = "No scene is odd by itself, but the latest ones together are."
        return GroupVerdict(group=whole.group, verdict="warning", sentence=sentence, scenes=names, features=features)
    if any(s.distances for s in (*recent, whole)):
        one = len(recent) == 1
        sentence = f"The latest {'scene looks' if one else f'{len(recent)} scenes look'} like the reference."
        return GroupVerdict(group=whole.group, verdict="none", sentence=sentence, scenes=(), features=())
    sentence = f"No scene has the {params.min_pixels} usable pixels that a verdict takes."
    if not comparison.has_reference:
        sentence = "The model has no reference to compare with."
    word: Word = "no sample" if comparison.has_reference else "no reference"
    return GroupVerdict(group=whole.group, verdict=word, sentence=sentence, scenes=(), features=())


def _sentence(word: Word, groups: tuple[GroupVerdict, ...], comparison: Comparison) -> str:
    if comparison.version is None:
        return "No verdict: there is no champion yet, so there are no maps to watch."
    model, count = f"version {comparison.version}", len(comparison.scenes)
    where = ", ".join(g.group for g in groups if g.verdict == word)
    if word == "drift":
        return f"Drift in {where}: what arrives no longer looks like what {model} learned from."
    if word == "warning":
        return f"Warning for {where}: something is unusual, but it does not persist yet."
    if word == "none":
        return f"No drift: the latest of {count} scenes mapped by {model} look like its training data."
    if word == "no reference":
        return f"No verdict: {model} came without a reference to compare with; train it again."
    if count:
        return f"No verdict: none of the {count} scenes mapped by {model} has enough usable pixels."
    return f"No verdict: {model} has mapped no scene yet."


def call_for_training(verdict: Verdict, run: str, state: Path, params: Drift, now: datetime) -> bool:
    """Whether this run asks for a training; at most once in ``cooldown_days``, and a run repeated says the same again.

    Scenes that have called once do not call again against the same version: a season is over for most of a year, and
    its last scenes stay the latest of their group. ``state`` is the file that remembers the last call; ``now`` must
    know its time zone.
    """
    if verdict.verdict != "drift":
        return False
    last = read_json(state) if state.exists() else None
    if last and last["run"] == run:
        return True
    if last and now - datetime.fromisoformat(last["at"]) < timedelta(days=params.cooldown_days):
        return False
    drifting = sorted({scene for group in verdict.groups if group.verdict == "drift" for scene in group.scenes})
    if last and last["version"] == verdict.version and set(drifting) <= set(last.get("scenes", ())):
        return False
    write_json(state, {"run": run, "at": now.isoformat(), "version": verdict.version, "scenes": drifting})
    return True
