"""A trained model on disk: weights as safetensors, everything else as JSON, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.config.params import LabelClass, Model, Task
from pipelines.dataset.statistics import Statistics
from pipelines.errors import BadData
from pipelines.files import read_json, write_json
from pipelines.training.network import build

WEIGHTS = "weights.safetensors"
SPEC = "model.json"


class ModelSpec(BaseModel):
    """What must be known of a trained model besides its weights."""

    model_config = ConfigDict(frozen=True)

    task: Task
    model: Model
    statistics: Statistics  # of the bands, in the order in which the network sees them
    classes: tuple[LabelClass, ...]
    chip_size: int  # pixels
    resolution: tuple[float, float]  # metres on the ground, smallest and largest of the training chips
    seed: int

    @property
    def bands(self) -> tuple[str, ...]:
        return tuple(band.name for band in self.statistics.bands)


class Normalized(nn.Module):
    """A network behind its normalisation: physical units in, logits out.

    Takes float32 ``(n, bands, h, w)`` in physical units, masked pixels filled with the band's mean; returns logits
    ``(n, classes, h, w)``.
    """

    def __init__(self, network: nn.Module, statistics: Statistics) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", _column(statistics.means))
        self.register_buffer("std", _column(statistics.stds))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network((images - self.mean) / self.std))


def save_trained(folder: Path, trained: Normalized, spec: ModelSpec) -> None:
    """Write the weights and the spec into ``folder``, which exists. Equal weights give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    write_json(folder / SPEC, spec.model_dump(mode="json"))


def load_trained(folder: Path) -> tuple[Normalized, ModelSpec]:
    """The model that ``save_trained`` wrote, on the CPU and in eval mode, and its spec.

    Raises ``BadData`` when files are missing or do not fit each other.
    """
    try:
        spec = ModelSpec.model_validate(read_json(folder / SPEC))
        trained = Normalized(build(spec.model, len(spec.bands), len(spec.classes)), spec.statistics)
        trained.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise BadData(f"{folder} holds no trained model: {error.filename} is missing; run the train stage.") from error
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise BadData(f"The trained model in {folder} cannot be read; run the train stage again. {error}") from error
    return trained.eval(), spec


def _column(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values).reshape(1, -1, 1, 1)
