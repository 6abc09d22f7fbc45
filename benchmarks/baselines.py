"""A second baseline: TorchGeo's own task, trained on the same chips and scored on the same stitched test ground.

    python -m benchmarks.baselines examples/amazon-forest.yaml
    python -m benchmarks.baselines WORKSPACE [WORKSPACE ...]

A WORKSPACE is a folder with `params.yaml` and the `data/` of finished stages, as `swath crossvalidate` leaves one for
each fold; several are scored as one, block by block. Of a YAML of `examples/` the workspace is made first, below
SWATH_HOME/cache/baselines, by the commands that a person would use, and kept: scenes are ingested, and all stages run.

`SemanticSegmentationTask` (a U-Net with ResNet-50, cross-entropy, 1e-3), or `ClassificationTask` where pictures are
classified, has its defaults and random weights; it sees the chips of ours in batches of the same size, normalised by
the train split's statistics and mirrored at random, in the same precision, for the time that ours took (`--minutes`
or `--epochs` say otherwise), and its epoch of the least val loss counts. Its maps are stitched and scored by the code
that scores ours. Prints a table and one JSON object, with block-bootstrap intervals; gains of ours are paired by block.

Takes as long as ours trained, and a few minutes for the maps: with `examples/amazon-forest.yaml` about fifteen minutes
on two cores, and as much again where the workspace is made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers.race import table
from benchmarks.peers.torchgeo_task import train
from pipelines.config import Params, load_params, merged_params, settings
from pipelines.dataset.shards import INDEX, ChipStore
from pipelines.dataset.snapshot import Manifest, read_manifest
from pipelines.dataset.statistics import read_statistics
from pipelines.errors import BadData, SwathError
from pipelines.evaluation import metrics as m
from pipelines.evaluation.bootstrap import Interval, interval, paired_gain
from pipelines.evaluation.chips import network_logits
from pipelines.evaluation.ground import digest, ground_of, read_plan
from pipelines.evaluation.report import BLOCK_SCORES
from pipelines.evaluation.score import Tally, by, tally_scene
from pipelines.evaluation.stitching import Stitcher
from pipelines.evaluation.tracking import active_run, store
from pipelines.files import read_json, sha256, write_json, write_text
from pipelines.inference.raster import in_bands
from pipelines.inference.views import calibrated
from pipelines.training.checkpoint import Normalized

OURS, FOREST, TORCHGEO = "ours", "forest of pixels", "torchgeo"
_NAMES = {"network": OURS, "baseline": FOREST}  # as the evaluate stage calls them
_COURSE = "course.json"  # of TorchGeo's training
_MADE = "made.yaml"  # the parameters that a workspace was finished with


def make_workspace(config: Path) -> Path:
    """A finished workspace for ``config``, an overlay of ``params.yaml``; one that is there already is kept."""
    text = merged_params(Path("params.yaml"), config)
    workspace = settings().home / "cache" / "baselines" / config.stem
    done = workspace / _MADE
    if done.exists() and done.read_text(encoding="utf-8") == text:
        return workspace
    done.unlink(missing_ok=True)
    write_text(workspace / "params.yaml", text)
    for stage in (("ingest", "all"), ("snapshot",), ("fold",)):
        environment = os.environ | {"SWATH_HOME": str(settings().home)}
        subprocess.run([sys.executable, "-m", "pipelines", *stage], cwd=workspace, env=environment, check=True)
    write_text(done, text)
    return workspace


def minutes_of(workspace: Path) -> float | None:
    """How long ours trained, if this MLflow store knows."""
    run_id = read_json(workspace / "data" / "train" / "run.json").get("run_id")
    with store() as client:
        run = active_run(client, run_id)
    return None if run is None or run.info.end_time is None else (run.info.end_time - run.info.start_time) / 60_000


def tested_ground(data: Path, params: Params) -> tuple[Manifest, pd.DataFrame]:
    """Scenes and plan on which ours was scored. Raises ``BadData`` if the scores are of other ground."""
    manifest, plan = read_manifest(data / "manifest.json"), read_plan(data / "plan.parquet")
    if digest(manifest, plan, params.labels) != read_json(data / "metrics.json")["test"]["digest"]:
        raise BadData(f"{data / 'metrics.json'} is of other test ground than {data / 'plan.parquet'}; evaluate again.")
    return manifest, plan


def tallied(network: Normalized, data: Path, params: Params, manifest: Manifest, plan: pd.DataFrame) -> Tally:
    """Count the stitched test ground as the evaluate stage does."""
    statistics = read_statistics(data / "statistics.json")
    bands = tuple(band.name for band in statistics.bands)
    answer = calibrated(network_logits(network, params.predict.views), 1.0)
    classes, sizes = len(params.labels.classes), (params.predict.window, params.predict.overlap)
    stitch, tally = Stitcher(answer, classes, statistics.means, *sizes, params.task), Tally(classes)
    for scene in manifest.scenes:
        ground = ground_of(scene, plan, "test", data / "labels", params.labels)
        if ground is not None:
            with in_bands(scene, settings().catalog / params.project, bands).open() as source:
                tally_scene(tally, ground, stitch(source))
    return tally


def compared(workspace: Path, minutes: float | None, epochs: int | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Confusion of each block by each model, and how TorchGeo's training went.

    That is kept in ``data/baselines``, so that several workspaces may be gone through in several goes.
    """
    params = load_params(workspace / "params.yaml")
    data = workspace / "data"
    ground = tested_ground(data, params)
    own, history = minutes_of(workspace), pd.read_csv(data / "history.csv")
    asked = minutes if minutes or epochs else own
    scored = pd.read_parquet(data / "evaluation" / BLOCK_SCORES).replace({"model": _NAMES})
    decides = f"{asked} {epochs or len(history)} {digest(*ground, params.labels)} {sha256(data / 'chips' / INDEX)}"
    kept = data / "baselines" / hashlib.sha256(decides.encode()).hexdigest()[:16]
    if (kept / _COURSE).exists():
        logging.info("TorchGeo's training is in %s already", kept)
        return pd.concat([scored, pd.read_parquet(kept / BLOCK_SCORES)], ignore_index=True), read_json(kept / _COURSE)
    logging.info("TorchGeo trains for %s", f"{asked:.1f} minutes" if asked else f"{epochs or len(history)} epochs")
    statistics = read_statistics(data / "statistics.json")
    trained = train(ChipStore(data / "chips"), statistics, params, asked, epochs or len(history))
    logging.info("%d epochs in %.1f minutes; now its maps", trained.epochs, trained.seconds / 60)
    frame = tallied(trained.network, data, params, *ground).frame(TORCHGEO)
    course: dict[str, Any] = {"minutes": round(trained.seconds / 60, 1), "epochs": trained.epochs}
    course |= {"best epoch": trained.best_epoch, "our epochs": len(history)}
    course["our minutes"] = None if own is None else round(own, 1)
    kept.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(kept / BLOCK_SCORES)
    write_json(kept / _COURSE, course)
    return pd.concat([scored, frame], ignore_index=True), course


def scores(frame: pd.DataFrame, params: Params) -> dict[str, dict[str, Any]]:
    """Of each model over all blocks, and what ours gains over the others on the same draws of blocks."""
    names = [c.name for c in params.labels.classes]
    counts = {str(name): by(rows, "block_id", len(names)) for name, rows in frame.groupby("model")}
    options: dict[str, Any] = {"resamples": params.evaluate.bootstrap, "confidence": params.evaluate.confidence}
    miou = partial(m.miou, void=m.void_of(params.task))
    blocks, own = counts[OURS]
    found = {}
    for name, (theirs, matrix) in sorted(counts.items(), key=lambda item: item[0] != OURS):
        if theirs != blocks:
            raise SwathError(f"{name} was scored on {len(theirs)} blocks, ours on {len(blocks)}; evaluate again.")
        total = matrix.sum(axis=0)
        found[name] = {
            "miou": _ends(interval(matrix, miou, **options)[0]),
            "accuracy": round(float(m.accuracy(total)), 4),
            "f1": round(float(m.mean_f1(total)), 4),
            "iou": dict(zip(names, np.round(m.class_scores(total).iou, 4).tolist(), strict=True)),
        }
        if name != OURS:
            found[name]["gain of ours"] = _ends(paired_gain(own, matrix, miou, **options))
    return found


def _ends(found: Interval) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in found.model_dump().items()}


def _span(ends: dict[str, float]) -> str:
    return f"{ends['value']:.3f}" + ("" if ends["low"] is None else f" ({ends['low']:.3f} to {ends['high']:.3f})")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("workspaces", nargs="*", type=Path, help="finished workspaces, or one YAML of examples/")
    asked.add_argument("--minutes", type=float, help="of TorchGeo's training; default: as long as ours")
    asked.add_argument("--epochs", type=int, help="of TorchGeo's training, in place of a time")
    given = asked.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if not given.workspaces:
        print("Nothing is compared: name a finished workspace or a YAML of examples/, as --help says.")
        return
    workspaces = [
        make_workspace(path) if path.suffix in (".yaml", ".yml") else path.resolve() for path in given.workspaces
    ]
    params, *others = (load_params(workspace / "params.yaml") for workspace in workspaces)
    if any(other.labels.classes != params.labels.classes for other in others):
        raise BadData(
            "The workspaces differ in labels.classes, so their blocks make no one score; name them one by one."
        )
    parts = [compared(workspace, given.minutes, given.epochs) for workspace in workspaces]
    found = scores(pd.concat([frame for frame, _ in parts], ignore_index=True), params)
    rows = [
        (name, _span(one["miou"]), one["accuracy"], one["f1"], _span(one["gain of ours"]) if name != OURS else "")
        for name, one in found.items()
    ]
    print(table(rows, ("", "mean IoU", "accuracy", "F1", "gain of ours")))
    print(json.dumps({"models": found, "trainings": [course for _, course in parts]}))


if __name__ == "__main__":
    try:
        main()
    except SwathError as error:
        sys.exit(str(error))
