"""A training step on processors: what the network's depth, kept memory and the layout of tensors are worth.

    python -m benchmarks.training [--chips 64x16,256x8] [--steps 12] [--rounds 2]

Chips of 4 bands, uint16, by ``size x batch``, through the training's own batches, augmentation, loss, optimiser and
moving average, under Lightning. Each way runs in a process of its own, in turn, ``rounds`` times, and the faster
counts; an epoch is warmed up with before one is timed. ``ours`` is what the train stage does; ``freed`` gives memory
back to the system after each use, as the C library does by default; ``five levels`` has an encoder of five halvings,
which is ours from 256 px on; ``plain layout`` keeps tensors as (n, bands, height, width) in memory. ``two at once``
are two processes of ours beside each other, and ``two, spinning`` two whose threads wait for each other as long as
OpenMP does by itself, which commands of ours do not (GOMP_SPINCOUNT). Prints one JSON object: milliseconds and newly
mapped pages a step, and how many times as long as ours each way takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch

from benchmarks.loading import BANDS, make_store
from pipelines.config import load_params
from pipelines.training.averaging import moving_average
from pipelines.training.batches import train_loader
from pipelines.training.checkpoint import Normalized
from pipelines.training.losses import CombinedLoss
from pipelines.training.memory import freed_kept
from pipelines.training.network import build
from pipelines.training.task import TrainingTask
from pipelines.training.train import precision

OURS, FREED, DEEP, PLAIN = "ours", "freed", "five levels", "plain layout"
TWO, SPINNING = "two at once", "two, spinning"
SPIN = "GOMP_SPINCOUNT"


class Epochs(L.Callback):
    """Seconds and newly mapped pages of each epoch."""

    def __init__(self) -> None:
        self.took: list[tuple[float, int]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.began = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def on_train_epoch_end(self, *_: Any) -> None:
        mapped = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        self.took.append((time.perf_counter() - self.began[0], mapped - self.began[1]))


def epoch(way: str, size: int, batch: int, steps: int) -> dict[str, float]:
    """Milliseconds and pages a step of the second epoch."""
    train = load_params().train
    train = train.model_copy(update={"batch": batch, "epochs": 2})
    model = train.model.for_chips(size)
    if way == DEEP:
        model = model.model_copy(update={"depth": 5})
    with tempfile.TemporaryDirectory() as scratch:
        store, statistics = make_store(Path(scratch) / "chips", steps * batch, size)
        torch.manual_seed(0)
        network = Normalized(build(model, len(BANDS), 2), statistics)
        if way != PLAIN:
            network = network.to(memory_format=torch.channels_last)
        epochs = Epochs()
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            precision=precision(train.precision, False),
            max_epochs=train.epochs,
            callbacks=[epochs, moving_average(train.ema)],
            use_distributed_sampler=False,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        batches = train_loader(store, statistics, batch, train.augment, 0)
        with nullcontext() if way == FREED else freed_kept():
            trainer.fit(TrainingTask(network, CombinedLoss(train.loss), train, ("a", "b")), batches)
    seconds, pages = epochs.took[-1]
    return {"ms": round(1000 * seconds / steps, 1), "pages": round(pages / steps)}


def compare(size: int, batch: int, steps: int, rounds: int) -> dict[str, Any]:
    deep = load_params().train.model.for_chips(size).depth == 5
    ways = [OURS, FREED, *([] if deep else [DEEP]), PLAIN, TWO, SPINNING]
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            asked = [sys.executable, "-m", "benchmarks.training", "--way", way, "--steps", str(steps)]
            asked += ["--chips", f"{size}x{batch}"]
            spin = {} if way == SPINNING else {SPIN: "1000"}
            environment = {name: value for name, value in os.environ.items() if name != SPIN} | spin
            begun = [
                subprocess.Popen(asked, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                for _ in range(2 if way in (TWO, SPINNING) else 1)
            ]
            said = [process.communicate()[0] for process in begun]
            runs[way].append(max((json.loads(one.splitlines()[-1]) for one in said), key=lambda one: one["ms"]))
            print(f"{size} px, {way}: {runs[way][-1]}", file=sys.stderr, flush=True)
    best = {way: min(found, key=lambda one: one["ms"]) for way, found in runs.items()}
    return {way: one | {"times ours": round(one["ms"] / best[OURS]["ms"], 2)} for way, one in best.items()}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--chips", default="64x16,256x8", help="pixels a side, and how many are a batch")
    asked.add_argument("--steps", type=int, default=12, help="an epoch")
    asked.add_argument("--rounds", type=int, default=2)
    asked.add_argument("--way", help=argparse.SUPPRESS)
    given = asked.parse_args()
    sizes = [tuple(map(int, pair.split("x"))) for pair in given.chips.split(",")]
    if given.way:
        ((size, batch),) = sizes
        print(json.dumps(epoch(given.way, size, batch, given.steps)))
        return
    found: dict[str, Any] = {"precision": precision("auto", False), "threads": torch.get_num_threads()}
    for size, batch in sizes:
        found[f"{batch} chips of {size} px"] = compare(size, batch, given.steps, given.rounds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
