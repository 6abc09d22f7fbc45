"""Scoring whole stitched scenes, counted by block of ground."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.evaluation.calibration import BINS, reliability
from pipelines.evaluation.ground import Ground
from pipelines.evaluation.metrics import CURVE_BINS, IGNORE, Counts, boundary_counts, confusion, score_histogram
from pipelines.files import replacing
from pipelines.inference.stitch import RowBand
from pipelines.inference.strip import Source


@dataclass
class Tally:
    """What was counted, over as many scenes as were added."""

    classes: int
    blocks: dict[tuple[str, str], Counts] = field(default_factory=dict)  # (block, scene): confusion
    boundary: Counts = field(init=False)
    histogram: Counts = field(init=False)
    reliability: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.boundary = np.zeros((self.classes, 4), np.int64)
        self.histogram = np.zeros((self.classes, 2, CURVE_BINS), np.int64)
        self.reliability = np.zeros((3, BINS))

    def add_probabilities(self, probabilities: NDArray[np.float32], truth: NDArray[np.uint8]) -> None:
        """Count ``(classes, pixels)`` against ``(pixels,)`` for curves and calibration."""
        kept = truth != IGNORE
        probabilities, truth = probabilities[:, kept], truth[kept]
        self.histogram += score_histogram(probabilities, truth)
        self.reliability += reliability(probabilities.max(axis=0), probabilities.argmax(axis=0) == truth)

    def add_classes(self, ground: Ground, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count the classes ``(height, width)`` of a scene, chip by chip into blocks, and the boundaries of blocks."""
        for block, window in ground.chip_windows():
            key = (block, ground.scene.id)
            counts = confusion(truth[window], predicted[window], self.classes)
            self.blocks[key] = self.blocks.get(key, 0) + counts
        for _, chips in ground.chips.groupby("block_id"):
            rows = slice(chips["row"].min(), (chips["row"] + chips["size"]).max())
            columns = slice(chips["col"].min(), (chips["col"] + chips["size"]).max())
            own = np.full_like(truth[rows, columns], IGNORE)  # a neighbour's chips may lie in the rectangle too
            for chip in chips.itertuples():
                row, column = chip.row - rows.start, chip.col - columns.start
                inside = slice(row, row + chip.size), slice(column, column + chip.size)
                own[inside] = truth[rows, columns][inside]
            self.boundary += boundary_counts(own, predicted[rows, columns], self.classes)

    def frame(self, model: str) -> pd.DataFrame:
        """A row for each block and scene: block_id, scene_id, model, confusion (flattened, row by row)."""
        rows = [(b, s, model, counts.ravel().tolist()) for (b, s), counts in sorted(self.blocks.items())]
        return pd.DataFrame(rows, columns=["block_id", "scene_id", "model", "confusion"])


def tally_scene(tally: Tally, ground: Ground, bands: Iterable[RowBand]) -> None:
    """Count one scene from its stitched row bands; pixels that the kernel masks are left out."""
    truth = ground.truth.copy()
    predicted = np.zeros(truth.shape, np.uint8)
    for band in bands:
        rows = truth[band.rows]
        rows[band.mask != 0] = IGNORE
        predicted[band.rows] = band.probabilities.argmax(axis=0)
        kept = rows != IGNORE
        tally.add_probabilities(band.probabilities[:, kept], rows[kept])
    tally.add_classes(ground, truth, predicted)


def tally_pixels(
    tally: Tally, ground: Ground, source: Source, classify: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
) -> None:
    """Count one scene from a classifier of single pixels, ``(pixels, bands)`` to ``(pixels,)``, on the same ground."""
    truth = ground.truth.copy()
    predicted = np.zeros(truth.shape, np.uint8)
    for top in range(0, source.height, 512):
        rows = slice(top, min(top + 512, source.height))
        if (truth[rows] == IGNORE).all():
            continue
        pixels, mask = source.read(rows)
        truth[rows][mask != 0] = IGNORE
        kept = truth[rows] != IGNORE
        if kept.any():
            predicted[rows][kept] = classify(pixels[:, kept].T)
    tally.add_classes(ground, truth, predicted)


def write_blocks(path: Path, frame: pd.DataFrame) -> None:
    with replacing(path) as draft:
        frame.to_parquet(draft, index=False)


def read_blocks(path: Path, model: str = "network") -> pd.DataFrame:
    frame = pd.read_parquet(path)
    return frame[frame["model"] == model].reset_index(drop=True)


def by(frame: pd.DataFrame, column: str, classes: int) -> tuple[list[str], Counts]:
    """Names in order and confusion counts ``(names, classes, classes)``, summed by ``block_id`` or ``scene_id``."""
    counts = np.array(frame["confusion"].tolist(), np.int64).reshape(len(frame), classes, classes)
    names, index = np.unique(frame[column].to_numpy(str), return_inverse=True)
    summed = np.zeros((len(names), classes, classes), np.int64)
    np.add.at(summed, index, counts)
    return names.tolist(), summed
