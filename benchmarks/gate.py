"""How often the gate promotes a challenger that is no better, and one that is better by two points of mIoU.

    python benchmarks/gate.py [--trials 400] [--blocks 5,11,40,100] [--apart 0.33]

Models are simulated, so that their quality is known; the verdict is the gate's own code. Blocks are as unlike as those
of two evaluations in ``gate_blocks.json`` (network and forest on the test blocks of amazon-forest and of the sample
region): ground cover is drawn from theirs, and the share of a class that is right in a block is logit-normal, with a
part of block and class that both models share and a part of each model's own. Pixels of a block thus err together.
``--apart`` is the own part, of that between network and forest; how far two networks lie apart was not measured.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pipelines.config import load_params
from pipelines.config.params import Gate
from pipelines.evaluation.bootstrap import paired_gain
from pipelines.evaluation.metrics import miou
from pipelines.registry.decision import Evidence, decide

BLOCKS = Path(__file__).with_name("gate_blocks.json")
PARAMS = Path(__file__).parents[1] / "params.yaml"
GAIN = 0.02
_ENOUGH = 200  # pixels of a class from which a block says something of it

Counts = NDArray[np.int64]  # (blocks, classes, classes), rows are the truth


@dataclass(frozen=True)
class World:
    """What blocks are like: ``truth`` ``(blocks, classes)`` pixels, ``level`` logit of each class's share that is
    right, ``shared`` and ``own`` standard deviations of it, ``errors`` ``(classes, classes)`` where wrong pixels go.
    """

    truth: Counts
    level: NDArray[np.float64]
    shared: float
    own: float
    errors: NDArray[np.float64]

    @classmethod
    def fitted(cls, name: str, apart: float) -> World:
        read = json.loads(BLOCKS.read_text())[name]
        size = round(len(read["network"][0]) ** 0.5)
        one, other = (np.array(read[model]).reshape(-1, size, size) for model in ("network", "baseline"))
        truth = one.sum(axis=2)
        rights = [np.diagonal(counts, axis1=1, axis2=2) for counts in (one, other)]
        logits = [logit(np.clip((right + 0.5) / (truth + 1), 0.003, 0.997)) for right in rights]
        known = truth >= _ENOUGH
        means = np.ma.masked_array((logits[0] + logits[1]) / 2, ~known)
        gaps = np.ma.masked_array(logits[0] - logits[1], ~known)
        between = float((means - means.mean(axis=0)).var(ddof=1))
        own = float((gaps - gaps.mean(axis=0)).var(ddof=1)) / 2
        level = np.ma.masked_array(logits[0], ~known).mean(axis=0).filled(0.0)
        errors = one.sum(axis=0) + 1.0
        np.fill_diagonal(errors, 0)
        errors /= errors.sum(axis=1, keepdims=True)
        return cls(truth, level, max(between - own / 2, 0.01) ** 0.5, apart * own**0.5, errors)

    def draw(self, random: np.random.Generator, blocks: int, better: float = 0.0) -> tuple[Counts, Counts]:
        """Challenger and champion on the same new blocks; they differ by chance alone, and ``better`` in the logit."""
        size = len(self.level)
        cover = self.truth[random.integers(len(self.truth), size=blocks)] * random.lognormal(0, 0.3, (blocks, size))
        truth = np.rint(cover).astype(np.int64)
        half = self.shared / np.sqrt(2)
        common = self.level + random.normal(0, half, (blocks, 1)) + random.normal(0, half, (blocks, size))
        return self._seen(random, truth, common + better), self._seen(random, truth, common)

    def better_for(self, gain: float) -> float:
        """The shift of the logit that makes a model better by ``gain`` of mIoU, on very many blocks."""
        low, high = 0.0, 4.0
        for _ in range(20):
            middle = (low + high) / 2
            ours, theirs = self.draw(np.random.default_rng(1), 20_000, middle)
            won = float(miou(ours.sum(axis=0)) - miou(theirs.sum(axis=0)))
            low, high = (middle, high) if won < gain else (low, middle)
        return high

    def _seen(self, random: np.random.Generator, truth: Counts, level: NDArray[np.float64]) -> Counts:
        right = random.binomial(truth, expit(level + random.normal(0, self.own, level.shape)))
        wrong = [random.multinomial(truth[:, i] - right[:, i], errors) for i, errors in enumerate(self.errors)]
        counts = np.stack(wrong, axis=1)
        np.einsum("bii->bi", counts)[:] = right
        return counts


def promoted(world: World, blocks: int, better: float, trials: int, seed: int = 0) -> float:
    """The share of ``trials`` in which the gate promotes the challenger."""
    random, thresholds = np.random.default_rng(seed), load_params(PARAMS).gate
    verdicts = [_verdict(*world.draw(random, blocks, better), thresholds) for _ in range(trials)]
    return float(np.mean([verdict == "promote" for verdict in verdicts]))


def _verdict(challenger: Counts, champion: Counts, thresholds: Gate) -> str:
    gain = paired_gain(challenger, champion, miou, resamples=500, confidence=thresholds.confidence)
    mine, theirs = (float(miou(counts.sum(axis=0))) for counts in (challenger, champion))
    evidence = Evidence(
        test="simulated",
        blocks=len(challenger),
        seen=0,
        opponent="champion",
        miou=mine,
        opponent_miou=theirs,
        gain=gain,
        classes={},
        scenes={},
    )
    return decide(evidence, thresholds)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--blocks", default="5,11,40,100")
    parser.add_argument("--apart", type=float, default=0.33)
    asked = parser.parse_args()
    print(f"{'blocks like':15} {'blocks':>6} {'no better':>10} {'+2 points':>10}   promoted, of {asked.trials} trials")
    for name in json.loads(BLOCKS.read_text()):
        world = World.fitted(name, asked.apart)
        better = world.better_for(GAIN)
        for blocks in map(int, asked.blocks.split(",")):
            shares = [promoted(world, blocks, shift, asked.trials) for shift in (0.0, better)]
            print(f"{name:15} {blocks:6} {shares[0]:10.1%} {shares[1]:10.1%}", flush=True)


if __name__ == "__main__":
    main()
