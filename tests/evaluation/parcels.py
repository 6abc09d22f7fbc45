"""A workspace up to the train stage on noisy parcels: one pixel says little of its class, its neighbours much."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from pipelines.config import Params
from pipelines.dataset.certificate import certify
from pipelines.dataset.chips import cut_chips
from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.snapshot import take_snapshot
from pipelines.dataset.split import make_split
from pipelines.dataset.statistics import fill_masked, train_statistics
from pipelines.files import write_json
from pipelines.labels import burn
from pipelines.monitoring.chips import chip_samples
from pipelines.monitoring.looks import chip_looks
from pipelines.monitoring.reference import write_reference
from pipelines.scenes.scene import Scene
from pipelines.training.checkpoint import ModelSpec, Normalized, save_trained
from pipelines.training.network import build
from tests.builders import write_scene
from tests.dataset.town import CLASSES, HERE, THERE, params, write_labels

LEVELS = np.array([[900, 1500], [1300, 1100], [1700, 700], [1300, 1100]])  # mean of each class; the last: unlabelled


@dataclass(frozen=True)
class Workspace:
    folder: Path
    catalog: Path
    params: Params

    @property
    def data(self) -> Path:
        return self.folder / "data"


def write_workspace(folder: Path) -> Workspace:
    """Write ``data/`` of all stages before train."""
    model = {"library": "torchgeo", "name": "FCN", "encoder": "none", "weights": None}
    values = params(
        write_labels(folder / "parcels.gpkg"), train={"model": model}, predict={"window": 128, "overlap": 32}
    )
    catalog, data = folder / "catalog", folder / "ws" / "data"
    scenes = [_scene(catalog, values, "here-a", HERE, 512, 7, 0), _scene(catalog, values, "here-b", HERE, 512, 12, 1)]
    scenes.append(_scene(catalog, values, "there", THERE, 256, 7, 2))
    manifest = take_snapshot(scenes, catalog, values, data)
    blocks, plan, buffer = make_split(manifest, catalog, data / "labels", values)
    blocks.to_parquet(data / "blocks.parquet")
    plan.to_parquet(data / "plan.parquet")
    certificate = certify(plan, blocks, buffer, manifest, catalog)
    write_json(data / "certificate.json", certificate.model_dump(mode="json"))
    cut_chips(plan, manifest, catalog, data / "labels", values, data / "chips")
    store = ChipStore(data / "chips")
    write_json(data / "statistics.json", train_statistics(store).model_dump(mode="json"))
    write_reference(data / "reference", chip_samples(store, 500), values.drift.by)
    chip_looks(store).write(data / "reference")
    return Workspace(folder / "ws", catalog, values)


def write_trained(workspace: Workspace, steps: int, seed: int = 0, run_id: str | None = None) -> None:
    """Train for ``steps`` batches and write ``data/train``."""
    store = ChipStore(workspace.data / "chips")
    statistics = train_statistics(store)
    spec = ModelSpec(
        task="segmentation",
        model=workspace.params.train.model,
        statistics=statistics,
        classes=workspace.params.labels.classes,
        chip_size=32,
        resolution=(10.0, 10.0),
        seed=seed,
    )
    torch.manual_seed(seed)
    network = Normalized(build(spec.model, 2, len(CLASSES)), statistics).train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    random, rows = np.random.default_rng(seed), store.rows("train")
    for _ in range(steps):
        batch = random.choice(rows, 8)
        images, labels, masks = store.gather(batch)
        pixels = fill_masked(physical(images, store.scale[batch], store.offset[batch]), masks, statistics.means)
        target = torch.from_numpy(labels.astype(np.int64))
        loss = cross_entropy(network(torch.from_numpy(pixels)), target, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shutil.rmtree(workspace.data / "train", ignore_errors=True)
    (workspace.data / "train").mkdir()
    save_trained(workspace.data / "train", network.eval(), spec)
    write_json(workspace.data / "train" / "run.json", {"run_id": run_id, "experiment": workspace.params.project})


def _scene(
    catalog: Path, values: Params, id: str, origin: tuple[float, float], side: int, month: int, seed: int
) -> Scene:
    when = datetime(2024, month, 1, tzinfo=UTC)
    blank = write_scene(catalog, np.ones((2, side, side), np.uint16), id=id, origin=origin)
    classes = burn(blank, Path(values.labels.source), values.labels)
    random = np.random.default_rng(seed)
    levels = LEVELS[np.minimum(classes, 3)].transpose(2, 0, 1)
    pixels = np.clip(random.normal(levels, 600), 1, 6000).astype(np.uint16)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 2 : side // 2 + 20, : side // 3] = 2
    return write_scene(catalog, pixels, id=id, origin=origin, mask=mask, when=when)
