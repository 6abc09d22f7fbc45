"""What the model was trained on, by season and zone: a folder of profiles that travels with the model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData
from pipelines.files import read_json, replacing, write_json
from pipelines.monitoring.distance import LEAST_SCENES, apart
from pipelines.monitoring.features import DARK, GROUND, UNWATCHED, Columns
from pipelines.monitoring.limits import Usual, usual_of
from pipelines.monitoring.profile import Facts, Profile, logged, merged, merged_facts, read_profile
from pipelines.monitoring.whylogs_compat import SKETCH

INDEX = "index.json"
SCENES = 2000
"""Scenes whose samples are held at once, a quarter of a megabyte each; more would add memory and no knowledge."""
MANY_PLACES = 12
"""Fewer do not tell how far the darkest pixels of places differ: one may have a lake where the next has none."""

_Key = tuple[str | None, str | None]  # season and zone


class Entry(BaseModel):
    """One profile of a reference; ``season`` and ``zone`` are ``None`` where it holds for any."""

    model_config = ConfigDict(frozen=True)

    file: str
    season: str | None
    zone: str | None
    scenes: int
    pixels: int
    apart: dict[str, tuple[float, ...]] = {}  # by feature, how far each scene of this group lies from its others


class Match(BaseModel):
    """The reference for a scene, and what it shares with it: season and zone, season, zone, or nothing."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    profile: Profile
    usual: dict[str, Usual]  # by feature, as far as the reference can tell
    shared: tuple[str, ...]
    exact: bool  # all that the reference is divided by


def write_reference(folder: Path, samples: Iterable[tuple[Facts, Columns]], by: Sequence[str]) -> list[Entry]:
    """Write one profile for each group of scenes that agree in ``by``, and one for all, with an ``index.json``.

    ``samples`` holds one entry a scene: its facts and its features, as ``SceneProfile.facts()`` and ``.columns()``
    give them. A profile keeps at most ``SKETCH`` pixels, taken evenly from its scenes, so that the same samples
    give the same bytes. Of more than ``SCENES`` scenes so many are taken, the same share of a group throughout and
    rather from large groups than from small ones. Of the darkest pixels, groups of at least ``MANY_PLACES`` places
    alone keep what they show. Raises ``BadData`` where no scene has a usable pixel.
    """
    groups = {key: _telling(group) for key, group in _grouped(samples, by).items()}
    if not groups:
        raise BadData("No scene has a usable pixel, so there is nothing to compare later scenes with; check the masks.")
    groups.setdefault((None, None), [sample for key in sorted(groups, key=str) for sample in groups[key]])
    for group in groups.values():
        group.sort(key=lambda sample: sample[0].scene or "")
    with replacing(Path(folder)) as draft:
        draft.mkdir()
        entries = [_write_group(draft, key, groups[key]) for key in sorted(groups, key=str)]
        write_json(draft / INDEX, {"by": list(by), "profiles": [entry.model_dump() for entry in entries]})
    return entries


def _grouped(samples: Iterable[tuple[Facts, Columns]], by: Sequence[str]) -> dict[_Key, list[tuple[Facts, Columns]]]:
    groups: dict[_Key, list[tuple[Facts, Columns]]] = defaultdict(list)
    seen, every = Counter[_Key](), defaultdict[_Key, int](lambda: 1)
    for facts, columns in samples:
        if not facts.pixels:
            continue
        key = group_key(facts, by)
        if seen[key] % every[key] == 0:
            groups[key].append((facts, columns))
        seen[key] += 1
        if sum(map(len, groups.values())) > SCENES:
            largest = max(groups, key=lambda key: len(groups[key]))
            groups[largest], every[largest] = groups[largest][::2], every[largest] * 2
    return dict(groups)


def _telling(group: list[tuple[Facts, Columns]]) -> list[tuple[Facts, Columns]]:
    if _places([columns for _, columns in group]) >= MANY_PLACES:
        return group
    return [(facts, {n: v for n, v in columns.items() if not n.startswith(DARK)}) for facts, columns in group]


def _places(scenes: Sequence[Columns]) -> float:
    """How many places without common ground the scenes amount to: one, if all show the same; 0 where it is unknown."""
    blocks = [np.unique(scene[GROUND]) for scene in scenes if GROUND in scene]
    return len(np.unique(np.concatenate(blocks))) / float(np.mean([len(b) for b in blocks])) if blocks else 0.0


def group_key(facts: Facts, by: Sequence[str]) -> _Key:
    """The season and zone that a profile is grouped under; ``None`` for what ``by`` leaves out."""
    return (facts.season if "season" in by else None, facts.zone if "zone" in by else None)


def group_name(key: _Key) -> str:
    """A file name and a title for a group: ``winter-21S``, or ``all``."""
    return "-".join(part for part in key if part) or "all"


def _write_group(folder: Path, key: _Key, samples: Sequence[tuple[Facts, Columns]]) -> Entry:
    facts = merged_facts([f for f, _ in samples])
    columns = [c for _, c in samples]
    names = [name for name in columns[0] if name not in UNWATCHED and all(name in c for c in columns)]
    together = {name: _thinned([c[name] for c in columns]) for name in names}
    pixels = min(len(values) for values in together.values())
    name = f"{group_name(key)}.bin"
    logged(together, facts.model_copy(update={"pixels": pixels})).write(folder / name)
    return Entry(
        file=name, season=key[0], zone=key[1], scenes=facts.scenes, pixels=pixels, apart=_rounded(apart(columns))
    )


def _thinned(parts: Sequence[np.ndarray]) -> np.ndarray:
    together = np.concatenate(parts)
    return together[:: -(-len(together) // SKETCH)]


def _rounded(values: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(round(one, 4) for one in value) for name, value in values.items()}


class Reference:
    """A folder that ``write_reference`` wrote. Raises ``BadData`` where it has no index."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX).exists():
            raise BadData(f"{self.folder} has no {INDEX}, so it is no reference; train the model again to make one.")
        content = read_json(self.folder / INDEX)
        self.by: tuple[str, ...] = tuple(content["by"])
        self.entries = [Entry.model_validate(entry) for entry in content["profiles"]]
        self._profiles: dict[str, Profile] = {}

    def match(self, facts: Facts) -> Match:
        """The nearest reference: of the same season and zone, else of the season, else of the zone, else of all."""
        wanted = {name: getattr(facts, name) for name in self.by}
        for shared in (self.by, *((name,) for name in self.by if len(self.by) > 1)):
            found = [e for e in self._groups if all(getattr(e, name) == wanted[name] for name in shared)]
            if shared and found:
                own = found[0] if len(found) == 1 and found[0].scenes >= LEAST_SCENES else None
                return self._match(found, own, shared, exact=shared == self.by)
        whole = [e for e in self.entries if e.season is None and e.zone is None]
        return self._match(whole, None if self.by else whole[0], (), exact=not self.by)

    def _match(self, found: list[Entry], own: Entry | None, shared: tuple[str, ...], *, exact: bool) -> Match:
        groups = [e.apart for e in self._groups if e.apart] or [e.apart for e in self.entries if e.apart]
        return Match(
            profile=self._merged(found),
            usual=usual_of(own.apart if own else None, groups),
            shared=shared,
            exact=exact,
        )

    @property
    def _groups(self) -> list[Entry]:
        return [e for e in self.entries if not self.by or e.season or e.zone]

    def _merged(self, entries: Sequence[Entry]) -> Profile:
        for entry in entries:
            if entry.file not in self._profiles:
                self._profiles[entry.file] = read_profile(self.folder / entry.file)
        parts = [self._profiles[entry.file] for entry in entries]
        return parts[0] if len(parts) == 1 else merged(parts)
