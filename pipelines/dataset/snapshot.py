"""Which scenes and labels a dataset is made of, pinned by checksum."""

from __future__ import annotations

import logging
import shutil
from bisect import bisect_left
from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.windows import Window
from shapely import STRtree
from shapely.geometry import shape

from pipelines.config.params import Params
from pipelines.errors import BadData
from pipelines.files import named, read_json, replacing, sha256, write_json
from pipelines.labels import LabelSource, open_labels
from pipelines.labels.shift import Shift, measure_shift
from pipelines.labels.table import FOLDERS, write_folder_classes
from pipelines.progress import report
from pipelines.scenes.quarantine import records
from pipelines.scenes.scene import Scene

UNLABELLED = 255
_NAMED = 3  # scenes in a sentence
_TOUCHING = 0.01  # of a footprint; neighbours share slivers at their edges
_TILE = 1024  # pixels; shifts are measured on one tile a scene

log = logging.getLogger(__name__)


class LabelFile(BaseModel):
    """A file of labels, or of ground whose split is settled."""

    model_config = ConfigDict(frozen=True)

    path: str  # of labels relative to data/labels
    sha256: str
    size: int  # bytes


class Exclusion(BaseModel):
    """A scene that has labels and is not in the dataset."""

    model_config = ConfigDict(frozen=True)

    scene: str
    reason: str


class Manifest(BaseModel):
    """``data/manifest.json``. Scenes are sorted by id; their ``source`` is blank, so no machine's paths are in it."""

    model_config = ConfigDict(frozen=True)

    project: str
    bands: tuple[str, ...]
    dtype: str
    scenes: tuple[Scene, ...]
    labels: tuple[LabelFile, ...]
    kept: LabelFile | None = None  # split.keep: here, so that the split is made anew when the file changes
    excluded: tuple[Exclusion, ...] = ()
    shifts: dict[str, Shift] = {}  # scene id: measured shift between its labels and its image
    findings: tuple[str, ...] = ()  # sentences, for people

    def scene(self, id: str) -> Scene:
        at = bisect_left(self.scenes, id, key=lambda scene: scene.id)
        if at < len(self.scenes) and self.scenes[at].id == id:
            return self.scenes[at]
        raise BadData(f"The manifest has no scene {id!r}; run `swath snapshot` and the stages after it again.")


def read_manifest(path: Path) -> Manifest:
    if not Path(path).exists():
        raise BadData(f"{path} does not exist; run `swath snapshot` first.")
    return Manifest.model_validate(read_json(path))


def take_snapshot(scenes: Collection[Scene], catalog: Path, params: Params, data: Path) -> Manifest:
    """Write ``manifest.json`` and ``labels/`` below ``data`` for those of ``scenes`` that the labels cover.

    A scene counts as covered if at least one usable pixel of it is labelled; others leave no trace, so the bytes stay
    the same when such a scene arrives. Raises ``BadData`` if no scene is left, or if scenes differ in dtype, bands or
    units.
    """
    if not scenes:
        raise BadData(_why_empty(catalog))
    with TemporaryDirectory() as scratch:
        place = Path(params.labels.source)
        if params.labels.source == FOLDERS:
            place = Path(scratch) / "classes.csv"
            write_folder_classes(scenes, params.labels, place)
        return _take(scenes, catalog, params, place, data)


def _why_empty(catalog: Path) -> str:
    aside = records(catalog)
    if not aside:
        return (
            f"The catalog {catalog} holds no scene; run ingestion first (`swath ingest all`, or the DAG "
            "ingest_scenes). If it ran, the source has none within scenes.area, dates, collections and max_cloud, or "
            "fewer dates of each place, on one grid, than scenes.stack asks for."
        )
    shown = "\n".join(f"  {record.id}: {record.reason}" for record in aside[:_NAMED])
    more = f"\n  and {len(aside) - _NAMED} more, in {catalog / 'quarantine'}" if len(aside) > _NAMED else ""
    return (
        f"The catalog {catalog} holds no scene: all {len(aside)} that were found are in quarantine. Correct "
        f"params.yaml or the source, and ingest again.\n{shown}{more}"
    )


def _take(scenes: Collection[Scene], catalog: Path, params: Params, place: Path, data: Path) -> Manifest:
    source = open_labels(place, params.labels)
    taken: list[Scene] = []
    excluded: list[Exclusion] = []
    shifts: dict[str, Shift] = {}
    bare = 0
    for done, scene in enumerate(scenes):
        report(done, len(scenes), f"labels of {scene.id}")
        if not source.covers(scene):
            bare += 1
            continue
        try:
            if min(scene.width, scene.height) < params.chips.size:
                raise BadData(
                    f"It has {scene.width} x {scene.height} pixels, fewer than a chip of {params.chips.size}; lower "
                    "chips.size, or leave the scene out."
                )
            busiest = _busiest_window(scene, catalog, source)
        except BadData as error:
            log.warning("Scene %s is left out of the dataset: %s", scene.id, error)
            excluded.append(Exclusion(scene=scene.id, reason=str(error)))
            continue
        if busiest is not None:
            taken.append(scene)
            shifts[scene.id] = _shift(scene, catalog, *busiest)
    if bare and taken and params.labels.background and params.labels.match is None:
        log.warning(
            "%d scene(s) without any label are left out; if all of their ground is %s, say so by labels.match: '*'.",
            bare,
            params.labels.background,
        )
    taken.sort(key=lambda scene: scene.id)
    excluded.sort(key=lambda exclusion: exclusion.scene)
    if not taken:
        some = ", ".join(sorted(scene.id for scene in scenes)[:_NAMED])
        told = [
            *(exclusion.reason for exclusion in excluded[:_NAMED]),
            f"They are called {some}{', ...' if len(scenes) > _NAMED else ''}; shapes must lie over their usable "
            "pixels, and rasters and tables name them so.",
            *source.findings,
        ]
        raise BadData(
            f"None of the {len(scenes)} scenes of {catalog} has labels from {place}. {' '.join(told)} Correct "
            "labels.source or labels.match, or ingest scenes of the labelled places."
        )
    _alike(taken, params.scenes.image_bands)
    far = [s for s, shift in shifts.items() if shift.measurable and shift.pixels > params.labels.max_shift]
    warnings = [
        f"Labels of {id} lie {shifts[id].pixels:g} pixels off their image (dx {shifts[id].dx:g}, "
        f"dy {shifts[id].dy:g}), more than labels.max_shift = {params.labels.max_shift:g}."
        for id in far
    ]
    for warning in warnings:
        log.warning(warning)
    manifest = Manifest(
        project=params.project,
        bands=params.scenes.image_bands,
        dtype=taken[0].dtype,
        scenes=tuple(scene.model_copy(update={"source": ""}) for scene in taken),
        labels=_copy_labels(source.files(taken), place, data / "labels"),
        kept=_kept(params),
        excluded=tuple(excluded),
        shifts=shifts,
        findings=(*source.findings, *warnings),
    )
    absent = {"kept"} if manifest.kept is None else None
    write_json(data / "manifest.json", manifest.model_dump(mode="json", exclude=absent))
    for sentence in overlaps(scenes, manifest):
        log.warning(sentence)
    return manifest


def overlaps(scenes: Iterable[Scene], manifest: Manifest) -> list[str]:
    """A sentence for each of ``scenes`` that is outside the dataset and shows ground that is inside: such as a labelled
    scene's copy or another date under a name without labels. A map of it says nothing of unseen ground.

    Told, and kept out of the manifest, which a scene without labels must not change.
    """
    inside = list(manifest.scenes)
    grounds = [shape(scene.geometry) for scene in inside]
    tree = STRtree(grounds)
    taken = {scene.id for scene in inside}
    found = {}
    for scene in scenes:
        if scene.id in taken:
            continue
        footprint = shape(scene.geometry)
        near = {inside[i].id: footprint.intersection(grounds[i]).area / footprint.area for i in tree.query(footprint)}
        if shared := {id: share for id, share in near.items() if share > _TOUCHING}:
            most = max(shared, key=lambda id: (shared[id], id))
            others = f" and {len(shared) - 1} more scenes" if len(shared) > 1 else ""
            found[scene.id] = (
                f"Scene {scene.id} is not in the dataset, and {shared[most]:.0%} of it is ground of {most}{others} "
                "that is; its map says nothing of unseen ground."
            )
    return [found[id] for id in sorted(found)]


def _busiest_window(scene: Scene, catalog: Path, source: LabelSource) -> tuple[Window, NDArray[np.uint8]] | None:
    """The tile of the scene with most labelled usable pixels and edges between them, and its labels; None if nothing is
    labelled."""
    best, busiest = 0, None
    with rasterio.open(scene.mask_path(catalog)) as mask:
        for top in range(0, scene.height, _TILE):
            strip = Window(0, top, scene.width, min(_TILE, scene.height - top))
            labels = source.burn(scene, strip)
            labels[mask.read(1, window=strip) != 0] = UNLABELLED
            for left in range(0, scene.width, _TILE):
                tile = labels[:, left : left + _TILE]
                edges = int((tile[1:] != tile[:-1]).sum() + (tile[:, 1:] != tile[:, :-1]).sum())
                weight = edges + 1 if (tile != UNLABELLED).any() else 0
                if weight > best:
                    best, busiest = weight, (Window(left, top, tile.shape[1], tile.shape[0]), tile)
    return busiest


def _shift(scene: Scene, catalog: Path, window: Window, labels: NDArray[np.uint8]) -> Shift:
    with rasterio.open(scene.image_path(catalog)) as image, rasterio.open(scene.mask_path(catalog)) as mask:
        pixels = scene.physical(image.read(window=window))
        usable = (mask.read(1, window=window) == 0) & np.isfinite(pixels).all(axis=0)
    return measure_shift(pixels, labels, usable)


def _alike(scenes: list[Scene], bands: tuple[str, ...]) -> None:
    for scene in scenes:
        names = tuple(band.name for band in scene.bands)
        if names != bands:
            raise BadData(
                f"Scene {scene.id} has the bands {', '.join(names)} where scenes.bands says {', '.join(bands)}; ingest "
                "it again with these bands, or leave it out by labels.match."
            )
        if strange := [a.name for a, b in zip(scene.bands, scenes[0].bands, strict=True) if a.units != b.units]:
            raise BadData(
                f"Scene {scene.id} and scene {scenes[0].id} have {', '.join(strange)} in different units; a dataset "
                "has one. Ingest the older one again, or leave one kind out by labels.match."
            )
        if scene.dtype != scenes[0].dtype:
            raise BadData(
                f"Scene {scene.id} is {scene.dtype} and scene {scenes[0].id} is {scenes[0].dtype}; a dataset has "
                "one pixel type. Leave one kind out by labels.match."
            )


def _kept(params: Params) -> LabelFile | None:
    file = params.split.keep
    if file is None:
        return None
    if not file.is_file():
        raise BadData(f"split.keep {file} does not exist; correct it in params.yaml, or run `dvc pull`.")
    return LabelFile(path=file.name, sha256=sha256(file), size=file.stat().st_size)


def _copy_labels(files: list[Path], place: Path, target: Path) -> tuple[LabelFile, ...]:
    base, _ = named(place)
    with replacing(target) as draft:
        draft.mkdir()
        copied = []
        for file in sorted(files):
            copy = draft / file.relative_to(base)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            path = str(file.relative_to(base).as_posix())
            copied.append(LabelFile(path=path, sha256=sha256(copy), size=copy.stat().st_size))
    return tuple(copied)
