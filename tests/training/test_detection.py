"""Boxes around objects, from shapes on scenes to a file of objects on a new one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageColor
from scipy.ndimage import binary_dilation
from shapely.geometry import box
from typer.testing import CliRunner

from pipelines.bundle.store import open_bundle
from pipelines.cli.main import commands
from pipelines.config.params import Model, Params
from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.inference import runtime as runtimes
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_file
from pipelines.inference.runtime import Runtime
from pipelines.registry.rollback import prove
from pipelines.training.augment import Attitude, turned
from pipelines.training.detection import turned_boxes
from pipelines.training.detector import Detector
from pipelines.training.network import build
from tests.inference.pretended import Pretended

ROOT = Path(__file__).parents[2]
STAGES = ("snapshot", "split", "chip", "validate", "statistics", "profile", "train", "evaluate")
SIDE = 1024
GRID = rasterio.Affine(1, 0, 400_000, 0, -1, 5_500_000)


def ponds(side: int, random: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[int, int, int, int]]]:
    """A picture ``(side, side)`` of rings, which are objects, among blots of the same light, which are not."""
    light = random.normal(110, 12, (side, side))
    rows, columns = np.mgrid[:side, :side]
    boxes = []
    for top in range(0, side - 47, 48):
        for left in range(0, side - 47, 48):
            kind, radius = random.integers(3), random.integers(8, 15)
            x, y = left + random.integers(radius + 2, 46 - radius), top + random.integers(radius + 2, 46 - radius)
            away = np.hypot(columns[top : top + 48, left : left + 48] - x, rows[top : top + 48, left : left + 48] - y)
            part = light[top : top + 48, left : left + 48]
            if kind == 0:
                part[(away <= radius) & (away > radius - 4)] += 70
                boxes.append((int(x - radius), int(y - radius), int(x + radius + 1), int(y + radius + 1)))
            elif kind == 1:
                part[away <= radius] += 70
    return np.clip(light, 0, 255).astype(np.uint8), boxes


def write(path: Path, picture: NDArray[np.uint8]) -> None:
    profile = {"height": len(picture), "width": picture.shape[1], "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", driver="GTiff", transform=GRID, **profile) as out:
        out.write(picture[None])


def on_ground(boxes: list[tuple[int, int, int, int]]) -> gpd.GeoDataFrame:
    shapes = [box(GRID.c + x0, GRID.f - y1, GRID.c + x1, GRID.f - y0) for x0, y0, x1, y1 in boxes]
    return gpd.GeoDataFrame({"kind": ["ring"] * len(shapes)}, geometry=shapes, crs="EPSG:32633")


def settings(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    overlay = yaml.safe_load((ROOT / "examples" / "neon-tree-crowns.yaml").read_text())
    values |= {"project": "rings", "task": "detection"}
    values["scenes"] |= overlay["scenes"] | {"source": str(folder / "source"), "bands": ["light"], "unplaced": None}
    values["labels"] |= {"source": str(folder / "rings.gpkg"), "field": "kind", "background": "ground"}
    values["labels"]["classes"] = [
        {"name": "ground", "value": 0, "color": "#cfc6b4"},
        {"name": "ring", "value": 1, "color": "#c8443c"},
    ]
    values["split"] |= {"block": 256, "buffer": None, "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    values["chips"] |= {"size": 64, "stride": 32}
    values["train"] |= overlay["train"] | {"loss": {"detector": 1.0}, "epochs": 6, "ema": 0, "lr": 0.002}
    values["predict"] |= {"window": 128, "overlap": 64, "views": 1}
    values["evaluate"] |= {"bootstrap": 100}
    values["drift"] |= {"by": []}
    return values


@pytest.mark.parametrize("attitude", [Attitude(*flips) for flips in product((False, True), (False, True), range(4))])
def test_boxes_move_with_their_chip(attitude: Attitude) -> None:
    corners = np.array([[3, 17, 10, 28]], np.float32)
    image = np.zeros((32, 32), np.uint8)
    image[17:28, 3:10] = 1
    rows, columns = np.nonzero(turned(image, attitude))
    expected = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert turned_boxes(corners, attitude, 32).tolist() == expected


def test_a_detector_learns_from_chips_with_and_without_objects() -> None:
    torch.manual_seed(0)
    detector = build(Model(library="torchvision", name="fcos", encoder="resnet18"), bands=5, classes=3)
    images = torch.randn(2, 5, 64, 96)
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    one = {"boxes": torch.tensor([[4.0, 8.0, 30.0, 40.0]]), "labels": torch.tensor([2])}
    for targets in ([none, one], [none, none]):
        loss = detector.losses(images, targets)
        loss.backward()
        assert torch.isfinite(loss) and loss > 0
    answer = detector.eval()(images)
    assert answer.shape == (2, (16 * 24) + (8 * 12) + (4 * 6) + (2 * 3), 4 + 3)
    with pytest.raises(BadData, match="no detector"):
        build(Model(library="torchvision", name="yolo", encoder="resnet18"), bands=3, classes=2)


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("labels", {"background": None}, "labels.background"),
        ("train", {"loss": {"dice": 1.0}}, "train.loss"),
        ("predict", {"views": 8}, "views 1"),
        ("train", {"crop": 32}, "crops and windows of at least 64 pixels"),
        ("train", {"hard": 0.2}, "train.hard is not for detection"),
        ("train", {"model": {"library": "smp", "name": "Unet", "encoder": "resnet18"}}, "take torchvision"),
    ],
)
def test_settings_of_detection_must_fit(tmp_path: Path, section: str, change: dict[str, Any], words: str) -> None:
    values = settings(tmp_path)
    Params.model_validate(values)
    values[section] |= change
    with pytest.raises(ValueError, match=words):
        Params.model_validate(values)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace after all stages on one scene."""
    folder = tmp_path_factory.mktemp("rings")
    (folder / "source").mkdir()
    picture, boxes = ponds(SIDE, np.random.default_rng(0))
    write(folder / "source" / "town.tif", picture)
    on_ground(boxes).to_file(folder / "rings.gpkg")
    (folder / "params.yaml").write_text(yaml.safe_dump(settings(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SWATH_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        swath("ingest", "all")
        for stage in STAGES:
            swath(stage)
        yield folder


@pytest.fixture(scope="module")
def bundle(home: Path) -> Path:
    swath("model", "package")
    return home / "data" / "bundle"


def swath(*words: str) -> str:
    outcome = CliRunner().invoke(commands(), list(words), catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


@pytest.mark.slow
def test_rings_are_found_among_blots_which_single_pixels_cannot_tell(home: Path) -> None:
    metrics: dict[str, Any] = read_json(home / "data" / "metrics.json")
    assert set(metrics["classes"]) == {"ring"}
    assert metrics["map50"] > 0.8 and metrics["classes"]["ring"]["ap50"] == metrics["map50"] > metrics["map"]
    assert metrics["classes"]["ring"]["f1"] > 0.8
    assert metrics["baseline"]["gain"]["low"] > 0.1


@pytest.mark.slow
def test_a_new_scene_is_searched_and_its_objects_lie_where_they_are(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, boxes = ponds(400, np.random.default_rng(7))
    write(tmp_path / "scene.tif", picture)
    model = open_bundle(bundle)
    prove(model)  # as a rollback to it would ask
    assert 0 < model.contract.threshold < 1
    tasks = json.loads((bundle / "mlm.json").read_text())["properties"]["mlm:tasks"]
    assert tasks == ["object-detection"]
    raster = of_file(tmp_path / "scene.tif", model.contract)
    predict(raster, model, Runtime(model), tmp_path / "map", Tiling(128, 64, 8, 16 * 10**9))
    found = gpd.read_parquet(tmp_path / "map" / "objects.parquet")
    truth = on_ground(boxes)
    assert found.crs == truth.crs and (found["class_name"] == "ring").all()
    pairs = found.sjoin(truth, predicate="intersects")
    overlaps = [
        one.intersection(truth.geometry[other]).area / one.union(truth.geometry[other]).area
        for one, other in zip(pairs.geometry, pairs["index_right"], strict=True)
    ]
    hits = sum(overlap >= 0.5 for overlap in overlaps)
    assert hits >= 0.8 * len(truth) and hits >= 0.8 * len(found)
    assert len(gpd.read_file(tmp_path / "map" / "objects.fgb")) == len(found)
    item = read_json(tmp_path / "map" / "item.json")
    assert {"classes", "confidence", "objects", "objects_flatgeobuf"} <= set(item["assets"])
    with rasterio.open(tmp_path / "map" / "classes.tif") as source:
        classes = source.read(1)
    drawn = sum(area for area in found.geometry.area)
    assert 0.8 * drawn < (classes == 1).sum() < 1.2 * drawn
    monkeypatch.setattr(runtimes, "gpu", Pretended)
    predict(raster, model, Runtime(model), tmp_path / "tensors", Tiling(128, 64, 8, 16 * 10**9))
    same = gpd.read_parquet(tmp_path / "tensors" / "objects.parquet")
    assert len(same) == len(found) and same.union_all().symmetric_difference(found.union_all()).area < 0.01 * drawn


@pytest.mark.slow
@pytest.mark.usefixtures("bundle")
def test_the_gate_counts_a_detector_as_its_evaluation_did(home: Path) -> None:
    from pipelines.evaluation.report import BLOCK_SCORES
    from pipelines.evaluation.score import read_blocks

    swath("model", "register")
    assert '"promote"' in swath("model", "gate")
    assert len(read_blocks(home / "data" / "evaluation" / BLOCK_SCORES)) > 2
    decision = read_json(next((home / "home" / "mlflow").rglob("decision.json")))
    assert [shown["rank"] for shown in decision["pictures"]] == ["worst", "median"]
    for shown in decision["pictures"]:
        assert shown["panels"] == [f"{shown['rank']}-{name}" for name in ("image", "labels", "challenger")]
        image, labels, challenger = (lines(home, panel) for panel in shown["panels"])
        expected, (left, top, width) = np.zeros_like(labels), window(home, shown["block"])
        factor = labels.shape[1] // width
        for ring in ponds(SIDE, np.random.default_rng(0))[1]:
            paint(expected, *((np.array(ring) - [left, top, left, top]) * factor).tolist())
        assert not image.any() and expected.any() and (labels == expected).all()
        assert challenger.any() and not (challenger & ~binary_dilation(expected, iterations=8)).any()


def lines(home: Path, panel: str) -> NDArray[np.bool_]:
    """Where boxes are drawn in a picture of the decision."""
    picture = np.asarray(Image.open(next((home / "home" / "mlflow").rglob(f"decision/{panel}.png"))))
    return (picture[..., :3] == ImageColor.getrgb("#c8443c")).all(axis=-1)


def window(home: Path, block: str) -> tuple[int, int, int]:
    """First column and row of a block of test ground, and its width."""
    plan = gpd.read_parquet(home / "data" / "plan.parquet")
    chips = plan[(plan["block_id"] == block) & (plan["split"] == "test")]
    left, right = int(chips["col"].min()), int((chips["col"] + chips["size"]).max())
    return left, int(chips["row"].min()), right - left


def paint(picture: NDArray[np.bool_], left: int, top: int, right: int, bottom: int) -> None:
    """The edges of a box, two pixels wide."""
    rows, columns = np.indices(picture.shape)
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    core = (rows >= top + 2) & (rows < bottom - 2) & (columns >= left + 2) & (columns < right - 2)
    picture |= inside & ~core


def test_boxes_far_from_the_corner_are_as_fine_in_bfloat16():
    """Which knows every fourth pixel from 512 on."""
    torch.manual_seed(0)
    detector = Detector("resnet18", bands=3, classes=2).eval()
    images = torch.rand(1, 3, 64, 1024)
    with torch.no_grad():
        exact = detector(images)[0, :, :4]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = detector(images)[0, :, :4]
    far = exact[:, 0] > 512
    assert far.any() and (rounded - exact)[far].abs().max() < 1
