"""Test scenes of an example with labels and maps, worst to best: ``make pictures CONFIG=examples/NAME.yaml``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import matplotlib
import mlflow
import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from matplotlib import pyplot as plt
from matplotlib.patches import Patch
from numpy.typing import NDArray
from rasterio.transform import array_bounds
from shapely.geometry import box

from docs.pictures import TARGET, colours, serving, shrink, stretched
from pipelines.bundle.contract import BLOCKS
from pipelines.bundle.store import Bundle, champion, open_bundle
from pipelines.config import Params, load_params, merged_params, settings
from pipelines.errors import SwathError
from pipelines.labels import burn
from pipelines.scenes.catalog import read_scene
from pipelines.scenes.scene import Scene

matplotlib.use("Agg")
_SHOWN = 3
_TRIOS = ("red", "green", "blue"), ("TCI_R", "TCI_G", "TCI_B"), ("B04", "B03", "B02")


def main(overlay: Path) -> None:
    """Draw ``docs/pictures/PROJECT.png`` from the champion's maps."""
    with serving():
        _draw_all(_params(overlay), overlay)


def _draw_all(params: Params, overlay: Path) -> None:
    version = champion(params.project)
    if version is None:
        raise SwathError(f"{params.project} has no champion; run `make run CONFIG={overlay}` first.")
    bundle = open_bundle(f"models:/{params.project}/{version}")
    run = mlflow.MlflowClient().get_model_version(params.project, str(version)).run_id
    scores = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{run}/evaluation/scenes.csv")))
    scores = scores.sort_values("accuracy").reset_index(drop=True)
    chosen = scores.iloc[np.unique(np.linspace(0, len(scores) - 1, min(_SHOWN, len(scores))).round().astype(int))]
    scenes = [read_scene(settings().catalog / params.project, id) for id in chosen["scene_id"]]
    height = sum(3.4 * scene.height / scene.width + 0.3 for scene in scenes) + 0.4
    figure, panes = plt.subplots(len(chosen), 3, figsize=(10.5, height), layout="constrained", squeeze=False)
    for row, score, scene in zip(panes, chosen.itertuples(), scenes, strict=True):
        _draw(row, scene, params, bundle, f"{scene.id}: accuracy {score.accuracy:.3f}, mIoU {score.miou:.3f}")
    legend = [Patch(color=c.color, label=c.name) for c in bundle.contract.classes]
    figure.legend(handles=legend, loc="outside lower center", ncols=6, frameon=False)
    path = TARGET / f"{params.project}.png"
    figure.savefig(path, dpi=80)
    shrink(path)


def _draw(panes: Any, scene: Scene, params: Params, bundle: Bundle, title: str) -> None:
    catalog, maps = settings().catalog / params.project, settings().predictions / params.project
    names = [band.name for band in scene.bands]
    trio = next(trio for trio in _TRIOS if set(trio) <= set(names))
    with rasterio.open(scene.image_path(catalog)) as image:
        pixels = image.read([names.index(name) + 1 for name in trio]).astype(np.float32)
    with rasterio.open(scene.mask_path(catalog)) as mask:
        pixels[:, mask.read(1) != 0] = np.nan
    with rasterio.open(maps / f"v{bundle.version}" / scene.id / "classes.tif") as made:
        found = made.read(1)
    table = colours(bundle.contract.classes)
    pictures = stretched(pixels), table[_truth(scene, params)], table[found]
    for pane, picture, name in zip(panes, pictures, (title, "labels", "map"), strict=True):
        pane.imshow(picture, interpolation="nearest")
        pane.set_title(name, loc="left", fontsize=9)
        pane.axis("off")
    grid = Affine(*scene.transform)
    blocks = gpd.read_parquet(bundle.folder / BLOCKS).to_crs(scene.crs)
    here = blocks[blocks.intersects(box(*array_bounds(scene.height, scene.width, grid)))]
    if here["split"].nunique() > 1:  # a scene that the splits share
        for pane in panes:
            for part in here[here["split"] == "test"].geometry.explode():
                pane.plot(*(~grid @ np.array(part.exterior.xy)), color="white", linewidth=1)
            pane.set(xlim=(0, scene.width), ylim=(scene.height, 0))


def _truth(scene: Scene, params: Params) -> NDArray[np.uint8]:
    return burn(scene, Path(params.labels.source), params.labels)


def _params(overlay: Path) -> Params:
    with tempfile.TemporaryDirectory() as scratch:
        merged = Path(scratch) / "params.yaml"
        merged.write_text(merged_params(Path("params.yaml"), overlay), encoding="utf-8")
        return load_params(merged)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
