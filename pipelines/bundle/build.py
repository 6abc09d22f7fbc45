"""Putting a bundle together from what the stages left in a workspace."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd

from pipelines.bundle.card import write_card
from pipelines.bundle.contract import (
    BLOCKS,
    MLM,
    ONNX,
    REFERENCE,
    SCENES,
    SCORES,
    WEIGHTS,
    Contract,
    checksums,
    write_contract,
)
from pipelines.bundle.export import export
from pipelines.bundle.mlm import item
from pipelines.bundle.rounding import rounding
from pipelines.config.params import Params
from pipelines.dataset.shards import ChipStore
from pipelines.dataset.snapshot import Manifest, read_manifest
from pipelines.errors import BadData
from pipelines.files import read_json, replacing, sha256, write_json
from pipelines.lineage.revision import revision
from pipelines.scenes.scene import Band
from pipelines.training.checkpoint import ModelSpec, load_trained

_NEEDED = {
    "train": "train",
    "metrics.json": "evaluate",
    "evaluation/calibration.json": "evaluate",
    "evaluation/blocks.parquet": "evaluate",
    "evaluation/outputs": "evaluate",
    "reference": "profile",
    "blocks.parquet": "split",
    "certificate.json": "split",
    "manifest.json": "snapshot",
}


def build(workspace: Path, params: Params, target: Path) -> Contract:
    """Export the model that was trained and evaluated in ``workspace`` and write the bundle folder ``target``.

    Reads ``data/`` of the workspace and nothing else but ``dvc.lock`` and git, for the revision. Raises ``BadData``
    naming the stage to run where something is missing or the dataset's certificate is not clean.
    """
    data = workspace / "data"
    measured = params.predict.max_change > 0 and params.task != "detection"
    for name, stage in (_NEEDED | ({"chips": "chip"} if measured else {})).items():
        if not (data / name).exists():
            raise BadData(f"{data / name} is missing; run `swath {stage}` before the model is bundled.")
    certificate = read_json(data / "certificate.json")
    if not certificate["clean"]:
        raise BadData(f"The dataset's certificate is not clean: {'; '.join(certificate['findings'])}")
    manifest = read_manifest(data / "manifest.json")
    module, spec = load_trained(data / "train")
    with replacing(target) as draft:
        draft.mkdir()
        held = export(module, len(spec.bands), draft)
        rounded = rounding(draft / ONNX, ChipStore(data / "chips"), spec.statistics.means) if measured else None
        shutil.copyfile(data / "train" / WEIGHTS, draft / WEIGHTS)
        shutil.copytree(data / "reference", draft / REFERENCE / "inputs")
        shutil.copytree(data / "evaluation" / "outputs", draft / REFERENCE / "outputs")
        shutil.copyfile(data / "blocks.parquet", draft / BLOCKS)
        shutil.copyfile(data / "evaluation" / "blocks.parquet", draft / SCORES)
        write_json(draft / SCENES, _scenes(manifest) | {"manifest_sha256": sha256(data / "manifest.json")})
        contract = Contract(
            project=params.project,
            task=spec.task,
            model=spec.model,
            bands=_bands(params, spec),
            radiometry=params.scenes.radiometry.kind,
            dtype=manifest.dtype,
            nodata="nan" if params.scenes.nodata_is_nan else params.scenes.nodata,
            statistics=spec.statistics,
            resolution=spec.resolution,
            classes=spec.classes,
            **_calibration(data / "evaluation" / "calibration.json"),
            window=params.predict.window,
            overlap=params.predict.overlap,
            views=params.predict.views,
            bf16=rounded is not None and rounded.within(params.predict.max_change),
            rounding=rounded,
            batch=params.predict.batch,
            activation_bytes=held,
            metrics=read_json(data / "metrics.json"),
            revision=revision(workspace),
            files={},
        )
        blocks = gpd.read_parquet(data / "blocks.parquet").to_crs("EPSG:4326")
        west, south, east, north = (float(side) for side in blocks.total_bounds)
        last = max(scene.datetime for scene in manifest.scenes)
        write_card(draft, contract, certificate, manifest, data)
        write_json(draft / MLM, item(contract, (west, south, east, north), last, draft).to_dict())
        contract = contract.model_copy(update={"files": checksums(draft)})
        write_contract(draft, contract)
    return contract


def _scenes(manifest: Manifest) -> dict[str, Any]:
    named = {"id", "datetime", "image_sha256", "mask_sha256"}
    return {
        "scenes": [scene.model_dump(mode="json", include=named) for scene in manifest.scenes],
        "labels": [file.model_dump(mode="json") for file in manifest.labels],
    }


def _bands(params: Params, spec: ModelSpec) -> tuple[Band, ...]:
    radiometry = params.scenes.radiometry

    def each(value: float | tuple[float, ...]) -> tuple[float, ...]:
        values = value if isinstance(value, tuple) else (value,)  # one for all bands, or one a band of each date
        return values * (len(spec.bands) // len(values))

    return tuple(
        Band(name=band.name, units=band.units, scale=scale, offset=offset)
        for band, scale, offset in zip(
            spec.statistics.bands, each(radiometry.scale), each(radiometry.offset), strict=True
        )
    )


def _calibration(path: Path) -> dict[str, float]:
    found = read_json(path)
    temperature, threshold = float(found["temperature"]), float(found["threshold"])
    if not (math.isfinite(temperature) and temperature > 0):
        raise BadData(f"{path} holds the temperature {temperature}, which must be above 0; run `swath evaluate` again.")
    return {"temperature": temperature, "threshold": threshold}
