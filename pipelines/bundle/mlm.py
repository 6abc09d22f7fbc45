"""The model as a STAC item of the Machine Learning Model extension."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
from safetensors import safe_open
from shapely.geometry import box, mapping
from stac_model.input import InputStructure, ModelInput
from stac_model.output import MLMClassification, ModelOutput, ModelResult
from stac_model.schema import MLModelExtension, MLModelProperties

from pipelines.bundle.contract import CARD, ONNX, PT2, SCENES, WEIGHTS, Contract, slugs
from pipelines.config.params import Task

_TASKS: dict[Task, str] = {
    "segmentation": "semantic-segmentation",
    "classification": "scene-classification",
    "detection": "object-detection",
}
_GRAPHS = {
    ONNX: ("application/octet-stream; framework=onnx; profile=onnx", "onnx"),
    PT2: ("application/vnd.pytorch.exported; application=pytorch", "torch.export.save"),
    WEIGHTS: ("application/octet-stream; application=safetensors", "safetensors"),
}


def item(contract: Contract, footprint: tuple[float, float, float, float], when: datetime, folder: Path) -> pystac.Item:
    """The MLM item of the bundle in ``folder``, trained on ground within ``footprint`` (degrees) at ``when``."""
    made = pystac.Item(
        id=f"{contract.project}-{(contract.revision.commit or 'uncommitted')[:12]}",
        geometry=mapping(box(*footprint)),
        bbox=list(footprint),
        datetime=when.astimezone(UTC),
        properties={"title": f"{contract.model.called} of {contract.project}"}
        | {f"swath:{name}": value for name, value in contract.revision.model_dump().items() if value},
    )
    MLModelExtension.ext(made, add_if_missing=True).apply(_properties(contract, _parameters(folder / WEIGHTS)))
    for name, (media_type, artifact) in _GRAPHS.items():
        made.add_asset(
            name,
            pystac.Asset(
                href=f"./{name}",
                media_type=media_type,
                roles=["mlm:model", "mlm:weights" if name == WEIGHTS else "mlm:inference-runtime"],
                extra_fields={"mlm:artifact_type": artifact, "file:size": (folder / name).stat().st_size},
            ),
        )
    made.add_asset(
        "scenes",
        pystac.Asset(
            f"./{SCENES}", "Scenes and labels with checksums", media_type="application/json", roles=["metadata"]
        ),
    )
    made.add_asset("card", pystac.Asset(href=f"./{CARD}", media_type="text/markdown", roles=["metadata"]))
    return made


def _properties(contract: Contract, parameters: int) -> MLModelProperties:
    pixels = InputStructure(
        shape=[-1, len(contract.bands), -1, -1], dim_order=["batch", "bands", "height", "width"], data_type="float32"
    )
    detects = contract.task == "detection"
    answer = ModelResult(
        shape=[-1, -1, 4 + len(contract.classes)] if detects else [-1, len(contract.classes), -1, -1],
        dim_order=["batch", "places", "box and scores"] if detects else ["batch", "classes", "height", "width"],
        data_type="float32",
    )
    classes = [
        MLMClassification(value=i, name=slug, description=c.name, color_hint=c.color.lstrip("#").upper())
        for i, (c, slug) in enumerate(zip(contract.classes, slugs(contract.classes), strict=True))
    ]
    task: Any = _TASKS[contract.task]
    return MLModelProperties(
        name=contract.project,
        architecture=contract.model.called,
        tasks={task},
        framework="pytorch",
        accelerator_constrained=False,
        total_parameters=parameters,
        pretrained=contract.model.weights is not None,
        input=[
            ModelInput(
                name="pixels in physical units; the graph normalises them itself",
                bands=list(contract.band_names),
                input=pixels,
            )
        ],
        output=[
            ModelOutput(name="boxes and scores" if detects else "logits", tasks={task}, classes=classes, result=answer)
        ],
    )


def _parameters(weights: Path) -> int:
    total = 0
    with safe_open(weights, framework="numpy") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
            size = 1
            for side in tensors.get_slice(name).get_shape():
                size *= side
            total += size
    return total
