"""What a model asks of its input and promises of its output: ``bundle.json``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.config.params import LabelClass, Model, Task
from pipelines.dataset.statistics import Statistics
from pipelines.errors import BadData
from pipelines.files import read_json, sha256, write_json
from pipelines.lineage.revision import Revision
from pipelines.scenes.scene import Band

CONTRACT = "bundle.json"
PT2 = "model.pt2"
ONNX = "model.onnx"
WEIGHTS = "weights.safetensors"
MLM = "mlm.json"
CARD = "card.md"
BLOCKS = "blocks.parquet"
SCORES = "scores.parquet"  # confusion of each test block
SCENES = "scenes.json"  # checksums of the scenes and labels that it was trained, validated and tested on
REFERENCE = "reference"  # folders `inputs` of the train split and `outputs` on val ground, for drift


class Rounding(BaseModel):
    """What computing in bfloat16 changes, on the labelled pixels of val chips."""

    model_config = ConfigDict(frozen=True)

    pixels: int
    changed: float  # share of the pixels that get another class
    lost: float  # most IoU that a class loses by it; 0 where none does

    def within(self, most: float) -> bool:
        """Whether neither is more than ``most``."""
        return self.changed <= most and self.lost <= most


class Contract(BaseModel):
    """``bundle.json``. Physical units are those of ``bands``; classes stand in the order of their index."""

    model_config = ConfigDict(frozen=True)

    project: str
    task: Task
    model: Model
    bands: tuple[Band, ...]  # in the order in which the graph takes them; scale and offset for pixels without tags
    radiometry: Literal["sentinel2", "declared"] = "declared"  # sentinel2: their offset is settled file by file
    dtype: str  # of the pixels that scale and offset turn into physical units
    nodata: float | Literal["nan"] | None
    statistics: Statistics  # of the train split, physical units
    resolution: tuple[float, float]  # metres on the ground, smallest and largest of the training chips
    classes: tuple[LabelClass, ...]
    temperature: float  # probabilities are softmax(logits / temperature)
    threshold: float = 0.5  # score from which an object counts, of detection
    window: int  # pixels; sides that the graph takes are multiples of 32
    overlap: int  # pixels
    views: Literal[1, 4, 8] = 1  # symmetries of the square over which logits are averaged
    bf16: bool = False  # whether processors that are made for it may compute in bfloat16
    rounding: Rounding | None = None  # where it was measured
    batch: int
    activation_bytes: int  # that the graph holds at once, for each pixel of a batch
    metrics: dict[str, Any]  # data/metrics.json
    revision: Revision
    files: dict[str, str]  # path below the bundle folder: sha256

    @property
    def band_names(self) -> tuple[str, ...]:
        return tuple(band.name for band in self.bands)

    @property
    def means(self) -> NDArray[np.float32]:
        """``(bands,)``: what masked pixels are set to."""
        return self.statistics.means


def write_contract(folder: Path, contract: Contract) -> None:
    write_json(folder / CONTRACT, contract.model_dump(mode="json"))


def checksums(folder: Path) -> dict[str, str]:
    """Path and sha256 of every file below ``folder`` but the contract, sorted."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {name: sha256(path) for path in files if (name := path.relative_to(folder).as_posix()) != CONTRACT}


def read_contract(folder: Path) -> Contract:
    """The contract of the bundle in ``folder``. Raises ``BadData`` where there is none or files are not as it says."""
    path = Path(folder) / CONTRACT
    if not path.is_file():
        raise BadData(f"{folder} is no model bundle: it has no {CONTRACT}. Name a folder that `swath bundle` wrote.")
    try:
        contract = Contract.model_validate(read_json(path))
    except (ValidationError, ValueError, RecursionError) as error:
        raise BadData(
            f"{path} is not a contract that this version of swath reads; fetch the bundle again, or use the version "
            f"that made it: {error}"
        ) from None
    if unlisted := sorted({ONNX, PT2} - set(contract.files)):
        raise BadData(f"{path} lists no checksum of {', '.join(unlisted)}; fetch the bundle again.")
    for name, digest in contract.files.items():
        if (file := folder / name).resolve().is_relative_to(folder.resolve()) and file.is_file():
            if sha256(file) == digest:
                continue
            raise BadData(f"{file} is not the file that was bundled (its sha256 differs); fetch the bundle again.")
        raise BadData(f"{folder} lacks {name}, which its contract lists; fetch the bundle again.")
    held = {file.relative_to(folder).as_posix() for file in Path(folder).rglob("*") if not file.is_dir()}
    if more := sorted(held - {CONTRACT} - set(contract.files)):
        raise BadData(
            f"{folder} holds {', '.join(more[:5])}, which its contract does not list; fetch the bundle again."
        )
    return contract


def slugs(classes: Sequence[LabelClass]) -> list[str]:
    """Names of classes as STAC's classification extension, version 2.0.0, allows them: of ``[0-9A-Za-z-_]`` alone, each
    another. The class's own name is its description."""
    found: list[str] = []
    for i, one in enumerate(classes):
        slug = re.sub(r"[^0-9A-Za-z_-]+", "-", one.name).strip("-") or "class"
        found.append(slug if slug not in {*found, "nodata"} else f"{slug}-{i}")
    return found
