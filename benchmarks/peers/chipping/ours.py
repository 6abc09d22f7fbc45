"""Ours: the chip stage, from a plan to shards and an index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
from shapely.geometry import box

from benchmarks.peers import BANDS, CLASSES, SCENE
from benchmarks.peers.contender import WINDOW, given, timed
from pipelines.config import Params, load_params
from pipelines.dataset.chips import cut_chips
from pipelines.dataset.snapshot import Manifest
from pipelines.scenes.scene import Scene


def cut(folder: Path, target: Path, **chips: object) -> None:
    """The chip stage on the work in ``folder``; ``chips`` are further settings of that section."""
    scene = Scene.model_validate_json((folder / SCENE).read_text())
    manifest = Manifest(project="benchmark", bands=BANDS, dtype="uint16", scenes=(scene,), labels=())
    labels = folder / "labels"
    cut_chips(plan(scene), manifest, folder / "catalog", labels, params(labels, chips), target)


def params(labels: Path, chips: Mapping[str, object]) -> Params:
    values = load_params().model_dump(mode="json")
    values["scenes"] |= {"bands": BANDS, "assets": BANDS}
    values["labels"] |= {"source": str(labels), "field": None}
    values["labels"]["classes"] = [{"name": n, "value": i + 1, "color": "#000000"} for i, n in enumerate(CLASSES)]
    values["chips"] |= {"size": WINDOW, "stride": WINDOW, **chips}
    return Params.model_validate(values)


def plan(scene: Scene) -> gpd.GeoDataFrame:
    """All whole chips of the scene."""
    rows, columns = (range(0, length - WINDOW + 1, WINDOW) for length in (scene.height, scene.width))
    places = [(r, c) for r in rows for c in columns]
    table = {
        "chip_id": [f"{r}_{c}" for r, c in places],
        "scene_id": "scene",
        "split": [("train", "val", "test")[i % 3] for i in range(len(places))],
        "block_id": "b",
        "region": "r",
        "row": [r for r, _ in places],
        "col": [c for _, c in places],
        "size": WINDOW,
    }
    return gpd.GeoDataFrame(table, geometry=[box(0, 0, 1, 1)] * len(places), crs="EPSG:4326")


def main() -> None:
    folder, out, _ = given()
    with timed():
        cut(folder, out / "chips")


if __name__ == "__main__":
    main()
