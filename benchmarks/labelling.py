"""What the labelling queue is worth: labels of places that it chose, against as many chosen at random.

    SWATH_DATA=~/imagery python -m benchmarks.labelling [--seeds 8] [--labels 32] [--steps 150]

On the 33 labelled tiles of the Amazon, each of another place. For each seed nine tiles are the test, four are labelled
from the start, and the network of `params.yaml` is trained on these. Then places of the other twenty are labelled, by
each of the rules below as many, and a network is trained anew on the old labels and the new ones:

- `random`: any places;
- `least confident`: those at which the first network is least sure;
- `queue`: those that `pipelines/monitoring/worth.py` chooses, as the watch over drift does.

All rules start from the same first network and train with the same seeds, so their differences are paired. Prints mean
IoU on the test tiles, the share of the gain that all twenty tiles' labels would have brought, and one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.drifting import imagery
from benchmarks.drifting.look import IGNORE, Look
from benchmarks.drifting.network import confusion, mean_iou
from benchmarks.peers.race import table
from pipelines.config import load_params
from pipelines.monitoring.worth import choose, look_of
from pipelines.training.losses import CombinedLoss
from pipelines.training.network import build

TEST, FIRST, SIDE, BATCH = 9, 4, 128, 16  # tiles, tiles, pixels of a place, places
Place = tuple[Look, int, int]  # a tile, and the row and column of the place's corner


def places_of(tiles: list[Look]) -> list[Place]:
    """All places of ``tiles``, side by side."""
    steps = [range(0, side - SIDE + 1, SIDE) for side in tiles[0].mask.shape]
    return [(tile, row, col) for tile in tiles for row in steps[0] for col in steps[1]]


def cut(place: Place) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Pixels ``(bands, SIDE, SIDE)`` and labels ``(SIDE, SIDE)`` of a place."""
    tile, row, col = place
    window = np.s_[row : row + SIDE, col : col + SIDE]
    return tile.pixels[:, *window], tile.labels[window]


class Network:
    """The network of ``params.yaml``, trained on ``places`` for ``steps`` batches."""

    def __init__(self, places: list[Place], steps: int, seed: int) -> None:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        params = load_params(Path("params.yaml")).train
        images, labels = (np.stack(part) for part in zip(*map(cut, places), strict=True))
        self.mean, self.deviation = (
            torch.from_numpy(part(images, axis=(0, 2, 3)))[:, None, None] for part in (np.mean, np.std)
        )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.net = build(params.model, images.shape[1], 2).to(self.device).to(memory_format=torch.channels_last)
        loss = CombinedLoss(params.loss)
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=params.lr, weight_decay=params.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.lr, total_steps=steps)
        self.net.train()
        for _ in range(steps):
            drawn = rng.integers(len(places), size=BATCH)
            turned = [(int(rng.integers(4)), bool(rng.integers(2))) for _ in drawn]
            x, y = (
                np.stack([_turn(part[i], *how) for i, how in zip(drawn, turned, strict=True)])
                for part in (images * rng.uniform(0.8, 1.2), labels)
            )
            with self._precision():
                found = loss(
                    self.net(self._scaled(x.astype(np.float32))), torch.from_numpy(y.astype(np.int64)).to(self.device)
                )
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            schedule.step()
        self.net.eval()

    def _precision(self) -> torch.autocast:
        """As `train.precision: auto` has it on processors."""
        able = torch.cpu.get_capabilities()
        short = self.device == "cuda" or any(able.get(f"{kind}_bf16") for kind in ("avx512", "amx"))
        return torch.autocast(self.device, torch.bfloat16, enabled=short)

    def _scaled(self, images: NDArray[np.float32]) -> torch.Tensor:
        scaled = (torch.from_numpy(images) - self.mean) / self.deviation
        return scaled.to(self.device).contiguous(memory_format=torch.channels_last)

    def __call__(self, tile: Look) -> NDArray[np.float32]:
        """Probabilities ``(classes, h, w)`` of a whole tile."""
        with torch.inference_mode(), self._precision():
            answer = self.net(self._scaled(tile.pixels[None])).float().cpu()
        return np.asarray(functional.softmax(answer, dim=1)[0].numpy())


def _turn(field: NDArray[Any], quarters: int, mirrored: bool) -> NDArray[Any]:
    turned = np.rot90(field, quarters, axes=(-2, -1))
    return turned[..., ::-1] if mirrored else turned


def score(network: Network, tiles: list[Look]) -> float:
    """Mean IoU over the pixels of all ``tiles``."""
    return mean_iou(np.sum([confusion(tile, network(tile)) for tile in tiles], axis=0))


def chosen(network: Network, labelled: list[Place], pool: list[Place], most: int, seed: int) -> dict[str, list[int]]:
    """By rule, the numbers of the places of ``pool`` that are labelled."""
    answers = {tile.id: network(tile).max(axis=0) for tile, _, _ in pool}
    doubt = np.array([1 - answers[t.id][r : r + SIDE, c : c + SIDE].mean() for t, r, c in pool])
    looks, known = (np.stack([_look(place) for place in part]) for part in (pool, labelled))
    return {
        "random": np.random.default_rng(seed).choice(len(pool), most, replace=False).tolist(),
        "least confident": np.argsort(-doubt, kind="stable")[:most].tolist(),
        "queue": choose(doubt, looks, known, most),
    }


def _look(place: Place) -> NDArray[np.float32]:
    pixels, _ = cut(place)
    return look_of(pixels, np.ones((SIDE, SIDE), bool))


def trial(tiles: list[Look], most: int, steps: int, seed: int) -> dict[str, float]:
    """Mean IoU by rule, ``before`` new labels, and with ``all`` of them."""
    order = [tiles[i] for i in np.random.default_rng(seed).permutation(len(tiles))]
    test, labelled, pool = order[:TEST], places_of(order[TEST : TEST + FIRST]), places_of(order[TEST + FIRST :])
    first = Network(labelled, steps, seed)
    found = {"before": score(first, test)}
    for rule, numbers in chosen(first, labelled, pool, most, seed).items():
        found[rule] = score(Network(labelled + [pool[i] for i in numbers], steps, seed), test)
    return found | {"all": score(Network(labelled + pool, steps, seed), test)}


def summary(trials: list[dict[str, float]], resamples: int = 10_000) -> dict[str, dict[str, float]]:
    """Means over trials, and what each rule gains over chance, with the 95 % interval of a paired bootstrap."""
    draws = np.random.default_rng(0).integers(len(trials), size=(resamples, len(trials)))
    found = {}
    for rule in trials[0]:
        gains = np.array([one[rule] - one["random"] for one in trials])
        low, high = np.quantile(gains[draws].mean(axis=1), (0.025, 0.975))
        found[rule] = {
            "miou": round(float(np.mean([one[rule] for one in trials])), 4),
            "gain": round(float(gains.mean()), 4),
            "low": round(float(low), 4),
            "high": round(float(high), 4),
        }
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=8, help="trials, each with other tiles and weights")
    asked.add_argument("--labels", type=int, default=32, help="places that are labelled, of 320")
    asked.add_argument("--steps", type=int, default=150, help="batches of each training")
    given = asked.parse_args()
    data = Path(os.environ.get("SWATH_DATA", ""))
    if not (os.environ.get("SWATH_DATA") and (data / imagery.AMAZON).is_dir()):
        print(f"Nothing is measured: name the folder that holds {imagery.AMAZON} with SWATH_DATA.")
        return
    tiles = [tile for tile in imagery.amazon(data, 512) if (tile.labels != IGNORE).any()]
    trials = []
    for seed in range(given.seeds):
        trials.append(trial(tiles, given.labels, given.steps, seed))
        print(
            f"seed {seed}: " + ", ".join(f"{rule} {value:.3f}" for rule, value in trials[-1].items()), file=sys.stderr
        )
    found = summary(trials)
    rows = [
        (
            rule,
            f"{one['miou']:.3f}",
            "" if rule == "random" else f"{one['gain']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})",
        )
        for rule, one in found.items()
    ]
    print(table(rows, ("labels", "mean IoU", "against random")))
    print(json.dumps({"rules": found, "trials": trials}))


if __name__ == "__main__":
    main()
