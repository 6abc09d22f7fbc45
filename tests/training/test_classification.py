"""One class a picture, from folders of pictures that lie nowhere to a class map of a large scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from pipelines.bundle.build import build as build_bundle
from pipelines.bundle.store import open_bundle
from pipelines.cli.main import commands
from pipelines.config import load_params
from pipelines.config.params import Model
from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_file
from pipelines.inference.runtime import Runtime
from pipelines.training.network import build

ROOT = Path(__file__).parents[2]
CLASSES = ("across", "down", "grain")
STAGES = ("snapshot", "split", "chip", "validate", "statistics", "profile", "train", "evaluate")


def texture(name: str, height: int, width: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """``(height, width, 3)``: stripes across, stripes down or grain, of like colours, so that no pixel tells."""
    rows, columns = np.mgrid[:height, :width]
    phase, period = random.uniform(0, 10), random.uniform(6, 9)
    waves = {"across": rows, "down": columns, "grain": random.uniform(0, 100, (height, width))}[name]
    light = 128 + 80 * np.sin(2 * np.pi * (waves + phase) / period)
    return np.clip(light[..., None] + random.normal(0, 15, (height, width, 3)), 0, 255).astype(np.uint8)


def test_a_network_of_timm_gives_each_pixel_the_class_of_its_image() -> None:
    network = build(Model(library="timm", name="resnet10t"), bands=5, classes=4).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 5, 64, 96))
    assert logits.shape == (2, 4, 64, 96)
    assert (logits == logits[:, :, :1, :1]).all() and not torch.allclose(logits[0], logits[1])
    with pytest.raises(BadData, match="no network of timm"):
        build(Model(library="timm", name="resnet11"), bands=3, classes=2)


def test_task_and_network_must_fit() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["task"] = "classification"
    with pytest.raises(ValueError, match="smp is not for classification"):
        type(load_params(ROOT / "params.yaml")).model_validate(values)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after all stages on 120 pictures, one of them odd in size and one there twice."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in CLASSES:
        (folder / "source" / name).mkdir(parents=True)
        for number in range(40):
            side = 61 if (name, number) == ("down", 7) else 64
            picture = Image.fromarray(texture(name, 64, side, random))
            picture.save(folder / "source" / name / f"{name}{number:02d}.png")
    twin = folder / "source" / "grain" / "grain00.png"
    (folder / "source" / "grain" / "twin.png").write_bytes(twin.read_bytes())
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    overlay = yaml.safe_load((ROOT / "examples" / "uc-merced.yaml").read_text())
    values |= {"project": "pictures", "task": "classification"}
    values["scenes"] |= overlay["scenes"] | {"source": str(folder / "source"), "cloud_mask": {"asset": None}}
    values["labels"] |= {"source": "folders", "field": None}
    values["labels"]["classes"] = [
        {"name": name, "value": i, "color": f"#{i}0{i}0{i}0"} for i, name in enumerate(CLASSES)
    ]
    values["split"] |= {"block": 1000}
    values["chips"] |= {"size": 32, "stride": 32}
    values["train"] |= {"model": {"library": "timm", "name": "resnet10t"}, "epochs": 6, "batch": 16, "ema": 0.8}
    values["train"] |= {"loss": {"cross_entropy": 1.0}, "augment": ["brightness"]}
    values["predict"] |= {"window": 32, "overlap": 8}
    values["evaluate"] |= {"bootstrap": 100}
    values["drift"] |= {"by": []}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SWATH_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for stage in (("ingest", "all"), *((stage,) for stage in STAGES)):
            outcome = CliRunner().invoke(commands(), list(stage), catch_exceptions=False)
            assert outcome.exit_code == 0, outcome.output
        yield folder


@pytest.mark.slow
def test_pictures_of_a_kind_are_told_apart_where_single_pixels_tell_nothing(home: Path) -> None:
    metrics: dict[str, Any] = read_json(home / "data" / "metrics.json")
    assert metrics["accuracy"] > 0.9 > 0.6 > metrics["baseline"]["accuracy"]
    assert set(metrics["classes"]) == set(CLASSES)


@pytest.mark.slow
def test_a_picture_and_its_twin_are_one_place_and_never_in_two_splits(home: Path) -> None:
    import geopandas as gpd

    plan = gpd.read_parquet(home / "data" / "plan.parquet")
    pair = plan[plan["scene_id"].isin(["grain00", "twin"])]
    assert pair["block_id"].nunique() == 1 and pair["split"].nunique() == 1
    assert plan["block_id"].nunique() == plan["scene_id"].nunique() - 1 == 120
    assert read_json(home / "data" / "certificate.json")["clean"]


@pytest.mark.slow
def test_a_large_scene_is_mapped_by_sliding_the_network_over_it(home: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(9)
    left, right = (texture(name, 256, 160, random) for name in ("across", "down"))
    pixels = np.concatenate([left, right], axis=1)
    profile = {"height": 256, "width": 320, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    grid = rasterio.Affine(0.3048, 0, 400_000, 0, -0.3048, 5_500_000)
    with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", transform=grid, **profile) as out:
        out.write(np.moveaxis(pixels, -1, 0))
    build_bundle(home, load_params(home / "params.yaml"), tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.contract.task == "classification"
    assert json.loads((tmp_path / "bundle" / "mlm.json").read_text())["properties"]["mlm:tasks"] == [
        "scene-classification"
    ]
    raster = of_file(tmp_path / "scene.tif", bundle.contract)
    predict(raster, bundle, Runtime(bundle), tmp_path / "map", Tiling(32, 16, 8, 16 * 10**9))
    with rasterio.open(tmp_path / "map" / "classes.tif") as source:
        classes = source.read(1)
    assert (classes[:, :128] == 0).mean() > 0.9
    assert (classes[:, 192:] == 1).mean() > 0.9
