"""The watch as the DAG runs it, over scenes in memory: reference from chips and val ground, profile, compare, judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from shapely.geometry import box

from benchmarks.drifting.look import Look
from benchmarks.drifting.network import Network
from pipelines.config.params import Drift
from pipelines.dataset.shards import HEADER, INDEX, ChipStore, shard_file
from pipelines.evaluation.watch import ValProfile
from pipelines.files import write_json
from pipelines.inference.stitch import RowBand
from pipelines.monitoring.chips import chip_samples, numbered
from pipelines.monitoring.drift import Comparison, compare, grouped
from pipelines.monitoring.profile import Profile, SceneProfile
from pipelines.monitoring.reference import Reference, write_reference
from pipelines.monitoring.verdict import Verdict, judge
from pipelines.monitoring.watch import open_references

CHIP = 32  # pixels
ROWS = 128  # of a row band


@dataclass(frozen=True)
class Split:
    """Which blocks of ``side`` pixels, by row and column, are trained on and which are val ground."""

    side: int
    train: frozenset[tuple[int, int]]
    val: frozenset[tuple[int, int]]

    @staticmethod
    def of(shape: tuple[int, int], side: int, seed: int) -> Split:
        """Three fifths of the blocks are train, a fifth val."""
        blocks = [(r, c) for r in range(shape[0] // side) for c in range(shape[1] // side)]
        order = [blocks[i] for i in np.random.default_rng(seed).permutation(len(blocks))]
        most, rest = round(0.6 * len(order)), round(0.8 * len(order))
        return Split(side, frozenset(order[:most]), frozenset(order[most:rest]))

    def ground(self, shape: tuple[int, int], blocks: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
        found = np.zeros(shape, bool)
        for r, c in blocks:
            found[r * self.side : (r + 1) * self.side, c * self.side : (c + 1) * self.side] = True
        return found


class Watch:
    """What one model knows of what is usual."""

    def __init__(
        self, folder: Path, looks: Sequence[Look], split: Split, network: Network | None, params: Drift
    ) -> None:
        self.params, self.network = params, network
        self.classes = [f"class {i}" for i in range(network.classes)] if network else []
        store = _chips(folder / "chips", looks, split)
        write_reference(folder / "reference" / "inputs", chip_samples(store, params.sample), params.by)
        if network:
            tables = {look.id: _table(look, split, split.val) for look in looks}
            parts = numbered(block for table in tables.values() for block in table["block_id"])
            samples = []
            for look in (one for one in looks if not tables[one.id].empty):
                scene = cast("Any", look)  # ValProfile asks for no more than a look has
                seen = ValProfile(scene, tables[look.id], look.bands, self.classes, params.sample, parts)
                for band in _row_bands(look, network(look)):
                    seen(band)
                samples.append(seen.sample())
            write_reference(folder / "reference" / "outputs", samples, params.by)
        self.references: Sequence[Reference] = open_references(folder / "reference")

    def profile(self, look: Look, probabilities: NDArray[np.float32] | None) -> Profile:
        """As prediction leaves it beside the maps."""
        seen = SceneProfile(look.bands, self.classes, self.params.sample, look.mask.shape, look)
        for band in _row_bands(look, probabilities):
            seen(*band)
        return seen.profile()

    def judged(self, profiles: Iterable[Profile]) -> tuple[Comparison, Verdict]:
        comparison = compare(grouped(profiles, self.params).items(), self.references, "1", self.params)
        return comparison, judge(comparison, self.params)


def _row_bands(look: Look, probabilities: NDArray[np.float32] | None) -> Iterable[RowBand]:
    for top in range(0, look.height, ROWS):
        rows = slice(top, min(top + ROWS, look.height))
        answer = cast("Any", None) if probabilities is None else probabilities[:, rows]
        yield RowBand(rows, look.pixels[:, rows], look.mask[rows], answer)


def _table(look: Look, split: Split, blocks: Iterable[tuple[int, int]]) -> pd.DataFrame:
    """The chips of ``blocks`` that have data, with the columns that the watch reads."""
    rows = [
        {"row": row, "col": col, "size": CHIP, "block_id": f"{look.place}-{r:02d}-{c:02d}"}
        for r, c in sorted(blocks)
        for row in range(r * split.side, (r + 1) * split.side - CHIP + 1, CHIP)
        for col in range(c * split.side, (c + 1) * split.side - CHIP + 1, CHIP)
        if (look.mask[row : row + CHIP, col : col + CHIP] == 0).mean() >= 0.3
    ]
    return pd.DataFrame(rows, columns=["row", "col", "size", "block_id"])


def _chips(folder: Path, looks: Sequence[Look], split: Split) -> ChipStore:
    """The train ground as chips, in physical units already."""
    folder.mkdir(parents=True)
    tables, images, masks = [], [], []
    bands = looks[0].bands
    for look in looks:
        table = _table(look, split, split.train)
        for chip in table.itertuples():
            place = np.s_[chip.row : chip.row + CHIP, chip.col : chip.col + CHIP]
            images.append(look.pixels[:, *place])
            masks.append(look.mask[place])
        tables.append(table.assign(scene_id=look.id, season=look.season, zone=look.zone, datetime=look.datetime))
    index = pd.concat(tables, ignore_index=True)
    index = index.assign(split="train", shard=0, position=np.arange(len(index)))
    index = index.assign(**{f"scale_{b}": 1.0 for b in bands}, **{f"offset_{b}": 0.0 for b in bands})
    np.save(folder / shard_file(0, "images"), np.stack(images))
    np.save(folder / shard_file(0, "masks"), np.stack(masks))
    np.save(folder / shard_file(0, "labels"), np.full((len(masks), CHIP, CHIP), 255, np.uint8))
    gpd.GeoDataFrame(index, geometry=[box(0, 0, 1, 1)] * len(index), crs="EPSG:4326").to_parquet(folder / INDEX)
    header = {"bands": bands, "units": ["1"] * len(bands), "classes": ["x"], "size": CHIP, "dtype": "float32"}
    write_json(folder / HEADER, header)
    return ChipStore(folder)
