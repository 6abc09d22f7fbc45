"""A bundle around a network that was never trained: what it answers does not change how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from pipelines.bundle.contract import Contract, checksums, write_contract
from pipelines.bundle.export import export
from pipelines.config import load_params
from pipelines.config.params import LabelClass, Model
from pipelines.dataset.statistics import BandStatistics, Statistics
from pipelines.lineage.revision import Revision
from pipelines.scenes.scene import Band
from pipelines.training.checkpoint import Normalized
from pipelines.training.network import build

CLASSES = 6


def make_bundle(folder: Path, model: Model, bands: Sequence[str], network: nn.Module | None = None) -> None:
    """``folder`` around ``network``, or one of random weights as ``model`` says, with the sizes of ``params.yaml``."""
    spread = {"mean": 0.2, "std": 0.1, "minimum": 0.0, "maximum": 1.0, "p01": 0.0, "p99": 0.6}
    each = tuple(BandStatistics(name=name, units="reflectance", **spread) for name in bands)
    statistics = Statistics(bands=each, class_pixels={}, chips=1)
    folder.mkdir()
    graph = Normalized(network or build(model, len(bands), CLASSES), statistics)
    held = export(graph, len(bands), folder)
    sizes = load_params().predict
    contract = Contract(
        project="benchmark",
        task="segmentation",
        model=model,
        bands=tuple(Band(name=name, units="reflectance", scale=1e-4, offset=0.0) for name in bands),
        dtype="uint16",
        nodata=0,
        statistics=statistics,
        resolution=(10.0, 10.0),
        classes=tuple(LabelClass(name=f"class {i}", value=i, color=f"#{40 * i:02x}8060") for i in range(CLASSES)),
        temperature=1.0,
        window=sizes.window,
        overlap=sizes.overlap,
        batch=sizes.batch,
        activation_bytes=held,
        metrics={},
        revision=Revision(commit=None, dataset=None),
        files=checksums(folder),
    )
    write_contract(folder, contract)
