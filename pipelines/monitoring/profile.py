"""What a scene, or many, looked like: a pixel sample as a mergeable whylogs profile."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.errors import BadData
from pipelines.files import replacing
from pipelines.inference.arrays import Array, host
from pipelines.monitoring.features import (
    GROUND,
    MASK,
    UNUSABLE,
    Columns,
    dark_features,
    input_features,
    mask_feature,
    output_features,
)
from pipelines.monitoring.texture import texture_features
from pipelines.monitoring.whylogs_compat import DatasetProfile, DatasetProfileView, metadata, schema, serialized
from pipelines.scenes.scene import MaskBit

_METADATA = "swath"
_COUNTS, _PLACES = "swath.counts", "swath.places"  # in a state, beside the features
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Facts(BaseModel):
    """What a profile stands for. A field is ``None`` where the scenes of the profile differ in it."""

    model_config = ConfigDict(frozen=True)

    scene: str | None = None
    season: str | None = None
    zone: str | None = None
    when: datetime = _EPOCH  # of the earliest scene
    scenes: int = 1
    pixels: int = 0  # usable pixels in the sample
    nodata_share: float = 0.0  # of all pixels
    cloud_share: float = 0.0  # cloud and shadow, of the pixels that have data


class SceneLike(Protocol):
    """What a profile asks of a scene; ``pipelines.scenes.scene.Scene`` has it."""

    @property
    def id(self) -> str: ...
    @property
    def season(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def datetime(self) -> datetime: ...
    @property
    def nodata_share(self) -> float: ...
    @property
    def cloud_share(self) -> float: ...


@dataclass(frozen=True)
class Profile:
    """A whylogs view and what it stands for."""

    view: DatasetProfileView
    facts: Facts

    def write(self, path: Path) -> None:
        """Write as one file that whylogs reads too; equal samples of at most ``SKETCH`` pixels give equal bytes."""
        self.view.metadata.clear()
        self.view.metadata[_METADATA] = json.dumps(self.facts.model_dump(mode="json"), sort_keys=True)
        with replacing(path) as draft:
            draft.write_bytes(serialized(self.view))


def read_profile(path: Path) -> Profile:
    """Read what ``Profile.write`` wrote. Raises ``BadData`` where the file is damaged or another's."""
    try:
        view = DatasetProfileView.deserialize(Path(path).read_bytes())
        return Profile(view, Facts.model_validate_json(view.metadata[_METADATA]))
    except FileNotFoundError:
        raise BadData(f"The profile {path} is missing; predict the scene again to make it.") from None
    except Exception as error:
        raise BadData(f"{path} is not a readable profile ({error}); delete it and predict the scene again.") from error


def read_facts(path: Path) -> Facts:
    """The facts of a profile, from the head of its file alone. Raises ``BadData`` as ``read_profile`` does."""
    try:
        with Path(path).open("rb") as source:
            return Facts.model_validate_json(metadata(source)[_METADATA])
    except FileNotFoundError:
        raise BadData(f"The profile {path} is missing; predict the scene again to make it.") from None
    except Exception as error:
        raise BadData(f"{path} is not a readable profile ({error}); delete it and predict the scene again.") from error


def logged(columns: Columns, facts: Facts) -> Profile:
    """A profile of ``columns``, which need not be of one length. Values that are not finite are left out."""
    when = facts.when.astimezone(UTC)
    profile = DatasetProfile(schema=schema(), dataset_timestamp=when, creation_timestamp=when)
    for name, values in sorted(columns.items()):
        kept = values if values.dtype == object else values[np.isfinite(values)]
        profile.track(pandas=pd.DataFrame({name: kept}))
    return Profile(profile.view(), facts)


def merged(profiles: Iterable[Profile]) -> Profile:
    """One profile of all: counts add up, distributions join. Raises ``ValueError`` where there is none."""
    parts = list(profiles)
    if not parts:
        raise ValueError("nothing to merge")
    views = [DatasetProfileView.deserialize(part.view.serialize()) for part in parts]  # merging alters the left one
    return Profile(reduce(lambda left, right: left.merge(right), views), merged_facts([p.facts for p in parts]))


def merged_facts(facts: Sequence[Facts]) -> Facts:
    """Shares are averaged over scenes."""
    scenes = sum(f.scenes for f in facts)

    def common(name: str) -> str | None:
        values = {getattr(f, name) for f in facts}
        return values.pop() if len(values) == 1 else None

    return Facts(
        scene=common("scene") if scenes == 1 else None,
        season=common("season"),
        zone=common("zone"),
        when=min(f.when for f in facts),
        scenes=scenes,
        pixels=sum(f.pixels for f in facts),
        nodata_share=sum(f.nodata_share * f.scenes for f in facts) / scenes,
        cloud_share=sum(f.cloud_share * f.scenes for f in facts) / scenes,
    )


class SceneProfile:
    """An observer of prediction: keeps a pixel sample of the rows that pass, and makes a profile of it.

    The sample depends on the scene's shape and usable share alone: one pixel at a fixed random place in each cell of
    a regular grid, about ``sample`` usable ones in all, so it is spread evenly and does not beat with rows of fields.
    Rows may come in bands of any height and order, each once.
    """

    def __init__(
        self,
        bands: Sequence[str],
        classes: Sequence[str],
        sample: int,
        shape: tuple[int, int],
        scene: SceneLike,
        ground: NDArray[np.int32] | None = None,
    ) -> None:
        """``ground`` ``(height, width)``, if given, numbers blocks of the ground, and the sample says where it lies."""
        self.bands, self.classes, self.scene = tuple(bands), tuple(classes), scene
        self._ground = ground
        usable = (1 - scene.nodata_share) * (1 - scene.cloud_share)
        self._rows, self._cols = lattice(shape, round(sample / max(usable, 0.05)))
        self._parts: dict[int, Columns] = {}
        self._pixels = self._nodata = self._cloud = 0

    def __call__(
        self,
        rows: slice,
        pixels: Array,
        mask: NDArray[np.uint8],
        probabilities: Array | None = None,
    ) -> None:
        """Take in rows ``rows`` of the scene.

        ``pixels`` ``(bands, r, width)`` float32 in physical units, ``mask`` ``(r, width)`` uint8 ``MaskBit`` bits,
        ``probabilities`` ``(classes, r, width)`` float32, or nothing where only the input is watched. Pixels and
        probabilities may be on a GPU; only the sample is brought here.
        """
        nodata = (mask & MaskBit.NODATA) > 0
        self._pixels += mask.size
        self._nodata += int(nodata.sum())
        self._cloud += int(((mask & (MaskBit.CLOUD | MaskBit.SHADOW)) > 0)[~nodata].sum())

        first, last = np.searchsorted(self._rows, (rows.start, rows.stop))
        r, c = self._rows[first:last] - rows.start, self._cols[first:last]
        bits = mask[r, c]
        usable = (bits & UNUSABLE) == 0
        r, c = r[usable], c[usable]
        columns = input_features(self.bands, host(pixels[:, r, c]))
        columns |= texture_features(self.bands, pixels, (mask & UNUSABLE) == 0, r, c)
        if self._ground is not None:
            columns[GROUND] = self._ground[rows][r, c]
        if probabilities is not None:
            columns |= output_features(self.classes, host(probabilities[:, r, c]))
        self._parts[rows.start] = columns | {MASK: mask_feature(bits)}

    def columns(self) -> Columns:
        """The sample so far, in the order of rows, with what its darkest pixels show."""
        seen = self._seen()
        return seen | dark_features(self.bands, seen)

    def _seen(self) -> Columns:
        parts = [self._parts[start] for start in sorted(self._parts)]
        common = [name for name in (parts[0] if parts else ()) if all(name in part for part in parts)]
        return {name: np.concatenate([part[name] for part in parts]) for name in common}

    def facts(self) -> Facts:
        with_data = self._pixels - self._nodata
        columns = self._seen()
        return Facts(
            scene=self.scene.id,
            season=self.scene.season,
            zone=self.scene.zone,
            when=self.scene.datetime,
            pixels=int((columns[MASK] == "usable").sum()) if columns else 0,
            nodata_share=self._nodata / self._pixels if self._pixels else 0.0,
            cloud_share=self._cloud / with_data if with_data else 0.0,
        )

    def state(self) -> dict[str, NDArray]:
        """All that was seen so far, as arrays without objects, for another process to go on from."""
        words = {n: v.astype(str) if v.dtype == object else v for n, v in self._seen().items()}
        counts = np.array([self._pixels, self._nodata, self._cloud])
        return {_COUNTS: counts, _PLACES: np.stack([self._rows, self._cols])} | words

    def restore(self, state: dict[str, NDArray]) -> None:
        """Go on where the observer that gave ``state`` was, with the places that it had chosen."""
        self._pixels, self._nodata, self._cloud = (int(count) for count in state[_COUNTS])
        self._rows, self._cols = state[_PLACES]
        columns = {name: values for name, values in state.items() if name not in (_COUNTS, _PLACES)}
        words = {n: v.astype(object) if v.dtype.kind == "U" else v for n, v in columns.items()}
        self._parts = {-1: words} if words else {}

    def profile(self) -> Profile:
        return logged(self.columns(), self.facts())

    def write(self, path: Path) -> None:
        """Write the profile to ``path``, one file."""
        self.profile().write(path)


def lattice(shape: tuple[int, int], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """About ``count`` places in ``shape`` ``(height, width)``, all where there are fewer: rows, sorted, and columns."""
    height, width = shape
    side = max((height * width / max(count, 1)) ** 0.5, 1.0)
    down, across = min(max(round(height / side), 1), height), min(max(round(width / side), 1), width)
    jitter = np.random.default_rng(0).random((2, down, across))
    rows = ((np.arange(down)[:, None] + jitter[0]) * height / down).astype(np.int64)
    cols = ((np.arange(across)[None, :] + jitter[1]) * width / across).astype(np.int64)
    order = np.argsort(rows, axis=None, kind="stable")
    return rows.reshape(-1)[order], cols.reshape(-1)[order]
