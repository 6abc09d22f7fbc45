"""A workspace as the stages leave it, around a small network with random weights, and the bundle made of it."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import torch
from shapely.geometry import box

from pipelines.bundle.build import build
from pipelines.config import Params, load_params
from pipelines.dataset.snapshot import Manifest
from pipelines.dataset.statistics import BandStatistics, Statistics
from pipelines.evaluation.score import write_blocks
from pipelines.files import write_json
from pipelines.training.checkpoint import ModelSpec, Normalized, save_trained
from pipelines.training.network import build as build_network
from tests.builders import write_scene

BANDS = ("B02", "B03", "B04")
CLASSES = ("water", "forest", "bare")
TEMPERATURE = 1.7
ROOT = Path(__file__).resolve().parents[2]


def small_params() -> Params:
    values = load_params(ROOT / "params.yaml").model_dump(mode="json")
    values["scenes"] |= {"bands": BANDS, "assets": BANDS}
    values["labels"]["classes"] = values["labels"]["classes"][:2] + values["labels"]["classes"][-1:]
    values["train"]["model"] = {"library": "smp", "name": "Unet", "encoder": "resnet18", "depth": 3}
    values["predict"] |= {"window": 64, "overlap": 16, "batch": 4, "max_change": 0}
    return Params.model_validate(values)


def write_workspace(workspace: Path) -> Params:
    """Write ``data/`` of all stages up to evaluate."""
    params = small_params()
    data = workspace / "data"
    (data / "train").mkdir(parents=True)
    statistics = Statistics(
        bands=tuple(
            BandStatistics(
                name=name, units="reflectance", mean=0.2, std=0.1, minimum=0.0, maximum=1.0, p01=0.02, p99=0.6
            )
            for name in BANDS
        ),
        class_pixels={"water": 100_000, "forest": 200_000, "bare": 50},
        chips=40,
    )
    spec = ModelSpec(
        task="segmentation",
        model=params.train.model,
        statistics=statistics,
        classes=params.labels.classes,
        chip_size=64,
        resolution=(9.9, 10.1),
        seed=0,
    )
    torch.manual_seed(0)
    network = Normalized(build_network(spec.model, len(BANDS), len(CLASSES)), statistics)
    for module in network.modules():  # random statistics, or the fresh network would map everything to one class
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    head = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    with torch.no_grad():  # and no class before the others
        head.bias -= network.eval()(0.4 * torch.rand(4, len(BANDS), 64, 64)).mean((0, 2, 3))
    save_trained(data / "train", network, spec)
    write_json(
        data / "metrics.json",
        {
            "miou": {"value": 0.61, "low": 0.55, "high": 0.66},
            "accuracy": 0.8,
            "classes": {name: {"iou": 0.6, "low": 0.5, "high": 0.7, "precision": 0.9} for name in CLASSES},
        },
    )
    write_json(data / "evaluation" / "calibration.json", {"temperature": TEMPERATURE, "threshold": 0.5})
    confusions = [np.diag([90, 80, 70]) + 10 * block for block in (1, 2, 3)]
    rows = [(f"b{i}", "s", "network", confusion.ravel().tolist()) for i, confusion in enumerate(confusions)]
    columns = ["block_id", "scene_id", "model", "confusion"]
    write_blocks(data / "evaluation" / "blocks.parquet", pd.DataFrame(rows, columns=columns))
    write_json(data / "evaluation" / "outputs" / "index.json", {"entries": []})
    write_json(data / "reference" / "index.json", {"entries": []})
    write_json(
        data / "certificate.json",
        {
            "clean": True,
            "overlap_m2": 0.0,
            "smallest_distance_m": 950.0,
            "buffer_m": 905.1,
            "class_balance": {},
            "blocks": {"train": 6, "val": 2, "test": 2},
            "chips": {"train": 40, "val": 9, "test": 9},
            "findings": ["test has no bare"],
        },
    )
    blocks = {"block_id": ["a", "b"], "split": ["train", "test"]}
    squares = [box(-57.0, -9.1, -56.9, -9.0), box(-56.8, -9.1, -56.7, -9.0)]
    gpd.GeoDataFrame(blocks, geometry=squares, crs="EPSG:4326").to_parquet(data / "blocks.parquet")
    scene = write_scene(
        workspace / "catalog", np.ones((3, 8, 8), np.uint16), bands=BANDS, when=datetime(2024, 5, 4, tzinfo=UTC)
    )
    manifest = Manifest(project=params.project, bands=BANDS, dtype="uint16", scenes=(scene,), labels=())
    write_json(data / "manifest.json", manifest.model_dump(mode="json"))
    return params


@functools.cache
def bundle_folder() -> Path:
    """One bundle for all tests of a session; copy it before changing it."""
    folder = Path(tempfile.mkdtemp(prefix="swath-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    params = write_workspace(folder / "workspace")
    build(folder / "workspace", params, folder / "bundle")
    return folder / "bundle"
