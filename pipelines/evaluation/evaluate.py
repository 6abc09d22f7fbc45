"""The evaluate stage: from a trained network to ``data/metrics.json`` and ``data/evaluation``."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.config.params import Params
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.snapshot import Manifest, read_manifest
from pipelines.errors import BadData
from pipelines.evaluation import metrics as m
from pipelines.evaluation.baseline import pixel_forest, train_pixels
from pipelines.evaluation.chips import network_logits, score_chips, val_temperature
from pipelines.evaluation.finding import Finder, score_finder
from pipelines.evaluation.ground import digest, ground_of, read_plan
from pipelines.evaluation.precision import precision
from pipelines.evaluation.report import Outcome, summary, write
from pipelines.evaluation.score import Tally, tally_pixels, tally_scene
from pipelines.evaluation.stitching import Stitcher
from pipelines.evaluation.tracking import log_evaluation
from pipelines.evaluation.watch import Sample, ValProfile
from pipelines.files import replacing, write_json
from pipelines.inference.raster import in_bands
from pipelines.inference.stitch import RowBand
from pipelines.inference.views import calibrated
from pipelines.monitoring.chips import numbered
from pipelines.monitoring.reference import write_reference
from pipelines.progress import report as progress
from pipelines.scenes.catalog import verify
from pipelines.training.checkpoint import ModelSpec, Normalized, load_trained
from pipelines.training.memory import freed_kept

log = logging.getLogger(__name__)


def evaluate(workspace: Path, catalog: Path, params: Params) -> dict[str, Any]:
    """Score ``data/train`` of ``workspace`` on the test ground of its scenes in ``catalog``; returns the metrics.

    Every scene with val or test chips is predicted whole, once: its test ground is scored, and what the map shows on
    its val ground, which the network was not trained on, becomes the reference that later maps are compared with.
    Raises ``BadData`` if model, chips and scenes do not fit each other or a split has no labelled pixel.
    """
    data = Path(workspace) / "data"
    network, spec = load_trained(data / "train")
    store = ChipStore(data / "chips")
    _require_fit(spec, store, params)
    manifest, plan = read_manifest(data / "manifest.json"), read_plan(data / "plan.parquet")
    score = _objects if spec.task == "detection" else _pixels
    with freed_kept():
        outcome, watched = score(network, spec, store, manifest, plan, catalog, data, params)
    total = sum(outcome.network.blocks.values(), np.zeros((len(spec.classes),) * 2, np.int64))
    if not np.isfinite(m.miou(total, m.void_of(spec.task))):  # what a detector has invented there tells nothing either
        raise BadData("Nothing labelled and unmasked lies in the test chips; change split.fractions or split.seed.")
    metrics = summary(outcome, params.evaluate)
    with replacing(data / "evaluation") as draft:
        draft.mkdir()
        write(draft, outcome)
        write_reference(draft / "outputs", watched, params.drift.by)
    write_json(data / "metrics.json", metrics)
    log_evaluation(data, metrics)
    return metrics


def _pixels(
    network: Normalized,
    spec: ModelSpec,
    store: ChipStore,
    manifest: Manifest,
    plan: pd.DataFrame,
    catalog: Path,
    data: Path,
    params: Params,
) -> tuple[Outcome, Sequence[Sample]]:
    """A network that gives pixels classes, alone or as a whole chip."""
    names, means = [c.name for c in spec.classes], spec.statistics.means
    logits = network_logits(network, params.predict.views)
    temperature = val_temperature(logits, store, means, spec.seed)
    log.info("Temperature %.3f, fitted on the val chips.", temperature)
    chips = score_chips(logits, store, means, temperature)
    classify = pixel_forest(*train_pixels(store, spec.seed), spec.seed) if params.evaluate.baseline else None

    tally, bar = Tally(len(names)), Tally(len(names)) if classify else None
    window, overlap = params.predict.window, params.predict.overlap
    stitch = Stitcher(calibrated(logits, temperature), len(names), means, window, overlap, spec.task)
    watched: list[Sample] = []
    parts = numbered(plan.loc[plan["split"] == "val", "block_id"])
    concerned = set(plan.loc[plan["split"].isin(["val", "test"]), "scene_id"])
    scenes = [scene for scene in manifest.scenes if scene.id in concerned]
    for done, scene in enumerate(scenes):
        progress(done, len(scenes), f"scoring scene {scene.id}")
        verify(scene, catalog)
        ground = ground_of(scene, plan, "test", data / "labels", params.labels)
        val_chips = plan[(plan["split"] == "val") & (plan["scene_id"] == scene.id)]
        with in_bands(scene, catalog, spec.bands).open() as source:
            bands = stitch(source)
            profile = None
            if not val_chips.empty:
                profile = ValProfile(scene, val_chips, spec.bands, names, params.drift.sample, parts)
                bands = _shown_to(profile, bands)
            if ground:
                tally_scene(tally, ground, bands)
            else:
                deque(bands, maxlen=0)
            if ground and bar and classify:
                tally_pixels(bar, ground, source, classify)
            if profile:
                watched.append(profile.sample())
        log.info("Scored scene %s, %d of %d.", scene.id, done + 1, len(scenes))
    test = digest(manifest, plan, params.labels)
    outcome = Outcome(test, manifest, spec.classes, spec.task, tally, bar, temperature=temperature, chips=chips)
    return outcome, watched


def _objects(
    network: Normalized,
    spec: ModelSpec,
    store: ChipStore,
    manifest: Manifest,
    plan: pd.DataFrame,
    catalog: Path,
    data: Path,
    params: Params,
) -> tuple[Outcome, Sequence[Sample]]:
    """A detector."""
    answers = network_logits(network)
    finder = Finder(answers, spec.bands, spec.statistics.means, params.predict.window, params.predict.overlap)
    found = score_finder(finder, store, manifest, plan, catalog, data, params)
    log.info("Objects count from a score of %.3f, chosen on the val ground.", found.threshold)
    outcome = Outcome(
        digest(manifest, plan, params.labels),
        manifest,
        spec.classes,
        spec.task,
        found.tally,
        found.bar,
        threshold=found.threshold,
        precision=precision(found.test, [c.name for c in spec.classes]),
    )
    return outcome, found.watched


def _shown_to(profile: ValProfile, bands: Iterator[RowBand]) -> Iterator[RowBand]:
    for band in bands:
        profile(band)
        yield band


def _require_fit(spec: ModelSpec, store: ChipStore, params: Params) -> None:
    names = tuple(c.name for c in params.labels.classes)
    trained = tuple(c.name for c in spec.classes)
    if not (names == trained == store.classes) or spec.bands != store.bands:
        raise BadData(
            f"data/train has the bands {spec.bands} and classes {trained}, data/chips {store.bands} and "
            f"{store.classes}, params.yaml the classes {names}; run the stages from chip on again."
        )
