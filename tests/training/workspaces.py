"""A workspace as the stages before training leave it, from simple pictures whose classes differ in reflectance."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import yaml
from shapely.geometry import box

from pipelines.dataset.shards import HEADER, INDEX, ChipHeader, ChipStore, shard_file
from pipelines.dataset.statistics import train_statistics
from pipelines.files import write_json
from tests.builders import write_scene

CLASSES = ("water", "forest", "bare")
BANDS = ("B02", "B03", "B04", "B08")
SPECTRA = np.array([[0.06, 0.05, 0.04, 0.02], [0.03, 0.05, 0.03, 0.35], [0.15, 0.2, 0.25, 0.3]])
SCALE, OFFSET = 1e-4, -0.1  # a Sentinel-2 product of baseline 04.00
CLEAN = {"clean": True, "overlap_m2": 0.0, "smallest_distance_m": 1000.0, "buffer_m": 900.0, "diagonal_m": 905.0}
CLEAN |= {"class_balance": {}, "blocks": {}, "chips": {}, "findings": []}


def make_workspace(
    folder: Path, *, train: int = 16, val: int = 8, size: int = 64, bands: int = len(BANDS), **settings: object
) -> Path:
    """Write ``folder/params.yaml`` and ``folder/data``; ``settings`` change the train section."""
    data = folder / "data"
    chips = data / "chips"
    chips.mkdir(parents=True)
    names = tuple(BANDS[i] if i < len(BANDS) else f"X{i}" for i in range(bands))
    random = np.random.default_rng(0)
    count = train + val
    labels = _stripes(count, size, random)
    spectra = SPECTRA[:, np.arange(bands) % SPECTRA.shape[1]]
    reflectance = spectra[labels].transpose(0, 3, 1, 2) + random.normal(0, 0.01, (count, bands, size, size))
    images = np.round((reflectance - OFFSET) / SCALE).astype(np.uint16)
    masks = np.zeros_like(labels)
    masks[:, :4] = 2  # a bar of cloud, whose pixels say nothing
    images[:, :, :4] = 60000
    labels[:, :4] = 255
    for part, array in {"images": images, "labels": labels, "masks": masks}.items():
        np.save(chips / shard_file(0, part), array)
    header = ChipHeader(bands=names, units=("reflectance",) * bands, classes=CLASSES, size=size, dtype="uint16")
    write_json(chips / HEADER, header.model_dump(mode="json"))
    columns: dict[str, object] = {
        "chip_id": [f"chip-{i}" for i in range(count)],
        "scene_id": ["scene"] * count,
        "split": ["train"] * train + ["val"] * val,
        "shard": [0] * count,
        "position": list(range(count)),
    }
    columns |= {f"pixels_{c}": (labels == i).sum((1, 2)) for i, c in enumerate(CLASSES)}
    for name in names:
        columns |= {f"scale_{name}": [SCALE] * count, f"offset_{name}": [OFFSET] * count}
    gpd.GeoDataFrame(columns, geometry=[box(0, 0, 1, 1)] * count, crs="EPSG:4326").to_parquet(chips / INDEX)
    write_json(data / "statistics.json", train_statistics(ChipStore(chips)).model_dump(mode="json"))
    write_json(data / "certificate.json", CLEAN)
    write_json(data / "validation" / "result.json", {"success": True, "findings": []})
    scene = write_scene(folder / "catalog", images[0], id="scene", bands=names, scale=SCALE, offset=OFFSET)
    manifest = {
        "project": "tiny",
        "bands": names,
        "dtype": "uint16",
        "labels": [],
        "scenes": [scene.model_dump(mode="json")],
    }
    write_json(data / "manifest.json", manifest)
    (folder / "params.yaml").write_text(yaml.safe_dump(_params(names, size, settings)), encoding="utf-8")
    return folder


def _params(names: tuple[str, ...], size: int, settings: dict[str, object]) -> dict[str, object]:
    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
    params["project"] = "tiny"
    params["scenes"] |= {"bands": list(names), "assets": list(names)}
    params["labels"]["classes"] = [
        {"name": name, "value": i, "color": color}
        for i, (name, color) in enumerate(zip(CLASSES, ("#2f6fb0", "#1f6b3a", "#b39b84"), strict=True))
    ]
    params["chips"]["size"] = size
    params["train"] |= {"epochs": 3, "batch": 4} | settings
    return dict(params)


def _stripes(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Labels ``(count, size, size)``: bands of the classes at a slant of their own."""
    y, x = np.mgrid[:size, :size]
    slant, start = random.random((2, count, 1, 1))
    return (((x + slant * y) / 12 + 3 * start).astype(int) % len(CLASSES)).astype(np.uint8)
