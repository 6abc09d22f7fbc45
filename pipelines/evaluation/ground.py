"""The pixels that a split is scored on: which, what they truly are, and a digest that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.config.params import Labels
from pipelines.dataset.snapshot import Manifest
from pipelines.errors import BadData
from pipelines.evaluation.metrics import IGNORE
from pipelines.labels import burn
from pipelines.scenes.scene import Scene

PLAN_COLUMNS = ["chip_id", "scene_id", "split", "block_id", "row", "col", "size"]


@dataclass(frozen=True)
class Ground:
    """The part of one scene that is scored, made of chips that do not overlap."""

    scene: Scene
    chips: pd.DataFrame  # PLAN_COLUMNS
    truth: NDArray[np.uint8]  # (height, width): class index; IGNORE where unlabelled or outside the chips

    def chip_windows(self) -> Iterator[tuple[str, tuple[slice, slice]]]:
        """Block and ``(rows, columns)`` of each chip."""
        for chip in self.chips.itertuples():
            yield chip.block_id, (slice(chip.row, chip.row + chip.size), slice(chip.col, chip.col + chip.size))


def read_plan(path: Path) -> pd.DataFrame:
    """The chip plan without its geometry, in a fixed order. Raises ``BadData`` if nothing in it can be scored."""
    if not Path(path).exists():
        raise BadData(f"{path} does not exist; run `swath split` first.")
    plan = pq.read_table(path, columns=PLAN_COLUMNS).to_pandas()
    for split in ("val", "test"):
        if not (plan["split"] == split).any():
            raise BadData(f"{path} has no {split} chip to score; change split.fractions or split.seed.")
    return plan.sort_values(["scene_id", "row", "col", "chip_id"]).reset_index(drop=True)


def ground_of(scene: Scene, plan: pd.DataFrame, split: str, labels_dir: Path, labels: Labels) -> Ground | None:
    """The ground of ``split`` in ``scene``; ``None`` where it has none."""
    chips = plan[(plan["split"] == split) & (plan["scene_id"] == scene.id)]
    if chips.empty:
        return None
    burned = burn(scene, labels_dir, labels)
    ground = Ground(scene, chips, np.full(burned.shape, IGNORE, np.uint8))
    for _, window in ground.chip_windows():
        ground.truth[window] = burned[window]
    return ground


def digest(manifest: Manifest, plan: pd.DataFrame, labels: Labels) -> str:
    """A name for the frozen test: equal only if test chips, their scenes' bytes, labels and their meaning are equal."""
    chips = plan[plan["split"] == "test"]
    tested = set(chips["scene_id"])
    content = {
        "chips": chips.drop(columns="split").values.tolist(),
        "scenes": [[s.id, s.image_sha256, s.mask_sha256] for s in manifest.scenes if s.id in tested],
        "labels": sorted(label.sha256 for label in manifest.labels),
        "meaning": [labels.field, labels.background, [(c.name, c.value) for c in labels.classes]],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
