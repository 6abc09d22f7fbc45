"""Drift: how often known changes of scenes are found, how often nothing is, and what each change costs a model.

    python -m benchmarks.drift [--out FOLDER] [--seeds 2] [--size 384] [--changed 8] [--worlds sample,amazon,california]

Scenes that the reference has not seen are changed in a known way and strength, mapped by a small network, profiled,
compared and judged by the code that the DAG runs. Worlds: the sample region, and the imagery below ``SWATH_DATA``
(amazon, california, naip), left out where it is not there. Writes ``drift.md`` (the table), ``drift.json`` (what it is
made of) and ``drift.png``; prints the summary as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.drifting import imagery
from benchmarks.drifting.evidence import plot, summary, table
from benchmarks.drifting.look import Look
from benchmarks.drifting.network import Network
from benchmarks.drifting.region import CLASSES, Region
from benchmarks.drifting.trials import ELSEWHERE, USUAL, Tried, streams, try_changes, try_usual
from benchmarks.drifting.watch import Split, Watch
from pipelines.config import settings
from pipelines.config.params import Drift

PARAMS = Drift(
    threshold=0.35,
    min_pixels=1000,
    min_scenes=2,
    sample=4096,
    by=("season", "zone"),
    cooldown_days=7,
    false_alarms=0.05,
)
HISTORY, LATER = 3, 4  # turns over the sample region, of eight dates a place each
STEPS = 250  # of the network's training


def sample(seed: int, size: int, changed: int, scratch: Path, params: Drift = PARAMS) -> list[Tried]:
    """The sample region of ``seed``: six scenes a season and zone are known, eight come later."""
    region = Region(seed, size, HISTORY, LATER)
    known, later = region.before(), region.after()
    split = Split.of((size, size), size // 4, seed)
    network = Network(known, split.ground((size, size), split.train), CLASSES, STEPS)
    watch = Watch(scratch, known, split, network, params)
    usual = [
        try_usual("sample", USUAL, later, watch, network),
        try_usual("sample", ELSEWHERE, region.elsewhere(), watch, network),
    ]
    firsts = {(s[0].season, s[0].zone): s for s in reversed(streams(later, params))}
    return usual + try_changes("sample", list(firsts.values())[:changed], watch, network, region.ahead)


def places(name: str, looks: list[Look], classes: int, fold: int, changed: int, scratch: Path) -> list[Tried]:
    """Tiles of different places: three fifths, drawn by ``fold``, are the reference, the others come later."""
    order = np.random.default_rng(fold).permutation(len(looks))
    cut = round(0.6 * len(looks))
    known, later = ([looks[i] for i in sorted(part)] for part in (order[:cut], order[cut:]))
    params = PARAMS.model_copy(update={"by": ()})
    shape = known[0].mask.shape
    split = Split.of(shape, shape[0] // 4, fold)
    network = Network(known, split.ground(shape, split.train), classes, STEPS)
    watch = Watch(scratch, known, split, network, params)
    usual = try_usual(name, USUAL, later, watch, network)
    return [usual, *try_changes(name, streams(later, params)[:changed], watch, network, None)]


def dates(looks: list[Look], fold: int, scratch: Path) -> list[Tried]:
    """One place: the date ``fold`` comes after the others, alone, so a stream is that one scene."""
    known, new = looks[:fold] + looks[fold + 1 :], looks[fold]
    params = PARAMS.model_copy(update={"by": (), "min_scenes": 1})
    watch = Watch(scratch, known, Split.of(new.mask.shape, 180, 0), None, params)
    stream = [new, new]
    usual = try_usual("naip", USUAL, stream, watch, None)
    return [usual, *try_changes("naip", [[new]], watch, None, None)]


def run(job: tuple[str, int, int, int]) -> list[Tried]:
    """One world and seed, in a process of its own."""
    import torch

    torch.set_num_threads(1)
    world, seed, size, changed = job
    data = Path(os.environ.get("SWATH_DATA", ""))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if world == "sample":
            return sample(seed, size, changed, folder)
        if world == "naip":
            return dates(imagery.naip(data), seed, folder)
        looks = imagery.amazon(data, size) if world == "amazon" else imagery.california(data)
        return places(world, looks, 2, seed, changed, folder)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out = settings().home / "cache" / "drift"
    asked.add_argument("--out", type=Path, default=out, help=f"folder of the results, {out}")
    asked.add_argument("--seeds", type=int, default=2, help="sample regions, and draws of the tiles of real imagery")
    asked.add_argument("--first", type=int, default=0, help="the first of these seeds")
    asked.add_argument("--size", type=int, default=384, help="pixels of a scene's side, a multiple of 64")
    asked.add_argument("--changed", type=int, default=8, help="streams a world and seed that are changed")
    asked.add_argument("--worlds", default="sample,amazon,california,naip")
    asked.add_argument("--processes", type=int, default=os.cpu_count())
    given = asked.parse_args()
    folders = {"amazon": imagery.AMAZON, "california": imagery.CALIFORNIA, "naip": imagery.NAIP}
    jobs = []
    for world in given.worlds.split(","):
        data = Path(os.environ.get("SWATH_DATA", "")) / folders.get(world, "")
        if world in folders and not (os.environ.get("SWATH_DATA") and data.is_dir()):
            print(f"{world} is left out: name the folder that holds {folders[world]} with SWATH_DATA.")
            continue
        seeds = range(5) if world == "naip" else range(given.first, given.first + given.seeds)
        jobs += [(world, seed, given.size, given.changed) for seed in seeds]
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        tried = [one for part in pool.map(run, jobs) for one in part]
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "drift.md").write_text(table(tried))
    found = summary(tried)
    (given.out / "drift.json").write_text(json.dumps(found, indent=1))
    plot(found["trials"], given.out / "drift.png")
    print(json.dumps(found["worlds"]))


if __name__ == "__main__":
    main()
