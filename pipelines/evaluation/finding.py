"""Scenes through a detector, scored: what ``evaluate`` does for objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.config.params import Labels, Params
from pipelines.dataset.boxes import BoxStore
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.snapshot import Manifest
from pipelines.evaluation.baseline import pixel_forest, train_pixels
from pipelines.evaluation.objects import Truth, best_threshold, tally_objects, truth_of
from pipelines.evaluation.patches import patches
from pipelines.evaluation.score import Tally
from pipelines.evaluation.watch import Sample, ValProfile
from pipelines.inference.detect import Answers, burned, detected
from pipelines.inference.raster import in_bands
from pipelines.inference.strip import Source
from pipelines.inference.windows import Axis, axes
from pipelines.labels import open_labels
from pipelines.labels.source import boxes_of
from pipelines.monitoring.chips import numbered
from pipelines.progress import report as progress
from pipelines.scenes.catalog import verify
from pipelines.scenes.scene import Scene
from pipelines.training.objects import Objects

_BATCH = 8


@dataclass(frozen=True)
class Finder:
    """A detector with the windows that it is used with."""

    answers: Answers
    bands: Sequence[str]
    means: NDArray[np.float32]
    window: int
    overlap: int
    calls: int = 1

    def objects(self, scene: Scene, catalog: Path) -> Objects:
        """What it finds in a scene, as prediction would, whatever the score."""
        verify(scene, catalog)
        with in_bands(scene, catalog, self.bands).open() as source:
            down, across = self.axes(source)
            return detected(
                source, self.answers, fill=self.means, down=down, across=across, batch=_BATCH, calls=self.calls
            )

    def axes(self, source: Source) -> tuple[Axis, Axis]:
        return axes(source.height, source.width, self.window, self.overlap, "detection")


@dataclass(frozen=True)
class Found:
    """What was counted of a detector and its bar, on test ground."""

    threshold: float
    tally: Tally
    bar: Tally | None
    test: tuple[tuple[Truth, Objects], ...]
    watched: tuple[Sample, ...]


def score_finder(
    finder: Finder, store: ChipStore, manifest: Manifest, plan: pd.DataFrame, catalog: Path, data: Path, params: Params
) -> Found:
    """Find the objects of scenes with val or test chips, choose the threshold on val ground, count on test ground."""
    names = [c.name for c in params.labels.classes]
    concerned = set(plan.loc[plan["split"].isin(["val", "test"]), "scene_id"])
    scenes = [scene for scene in manifest.scenes if scene.id in concerned]
    objects: dict[str, Objects] = {}
    for done, scene in enumerate(scenes):
        progress(done, len(scenes), f"searching scene {scene.id}")
        objects[scene.id] = finder.objects(scene, catalog)
    truths = {
        split: truths_of(manifest, plan, split, catalog, finder.bands, data, params.labels) for split in ("val", "test")
    }
    threshold = best_threshold([(truth, objects[truth.scene.id]) for truth in truths["val"]])
    tally = Tally(len(names))
    for truth in truths["test"]:
        found = objects[truth.scene.id]
        tally_objects(tally, truth, found[found.scores >= threshold])
    bar = _bar(store, truths["test"], catalog, finder.bands, params) if params.evaluate.baseline else None
    parts = numbered(block for truth in truths["val"] for block in truth.chips["block_id"])
    watched = tuple(
        _watched(finder, truth, objects[truth.scene.id], threshold, catalog, names, params, parts)
        for truth in truths["val"]
    )
    test = tuple((truth, objects[truth.scene.id]) for truth in truths["test"])
    return Found(threshold, tally, bar, test, watched)


def truths_of(
    manifest: Manifest,
    plan: pd.DataFrame,
    split: str,
    catalog: Path,
    bands: Sequence[str],
    data: Path,
    labels: Labels,
) -> list[Truth]:
    """The objects of each scene that has ground of ``split``."""
    source = open_labels(data / "labels", labels)
    found = []
    for scene in manifest.scenes:
        chips = plan[(plan["split"] == split) & (plan["scene_id"] == scene.id)]
        if len(chips):
            with in_bands(scene, catalog, bands).open() as pixels:
                found.append(truth_of(scene, boxes_of(source, scene), chips, pixels))
    return found


def _bar(store: ChipStore, truths: Sequence[Truth], catalog: Path, bands: Sequence[str], params: Params) -> Tally:
    classify = pixel_forest(*train_pixels(store, params.train.seed), params.train.seed)
    least = float(np.quantile(BoxStore(store.folder).sides(store.rows("train")), 0.05))
    bar = Tally(len(store.classes))
    for truth in truths:
        with in_bands(truth.scene, catalog, bands).open() as source:
            tally_objects(bar, truth, patches(source, classify, len(store.classes), least))
    return bar


def _watched(
    finder: Finder,
    truth: Truth,
    objects: Objects,
    threshold: float,
    catalog: Path,
    names: list[str],
    params: Params,
    parts: Mapping[str, int],
) -> Sample:
    profile = ValProfile(truth.scene, truth.chips, finder.bands, names, params.drift.sample, parts)
    with in_bands(truth.scene, catalog, finder.bands).open() as source:
        bands = burned(
            source,
            objects,
            threshold=threshold,
            classes=len(names),
            fill=finder.means,
            down=finder.axes(source)[0],
        )
        for band in bands:
            profile(band)
    return profile.sample()
