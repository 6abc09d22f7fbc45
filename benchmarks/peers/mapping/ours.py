"""Ours, as `map_shard` has it: overlapping windows blended, classes and confidence as COGs with overviews, an item, and
the profile that the watch over drift takes.
"""

from __future__ import annotations

import argparse

from benchmarks.peers import SCENE
from benchmarks.peers.contender import given, timed
from benchmarks.peers.mapping import BUNDLE
from pipelines.bundle.store import open_bundle
from pipelines.config import load_params
from pipelines.inference.memory import parse_size
from pipelines.inference.predict import Tiling, predict
from pipelines.inference.raster import of_scene
from pipelines.inference.runtime import Runtime
from pipelines.monitoring.profile import SceneProfile
from pipelines.scenes.scene import Scene


def main() -> None:
    folder, out, options = given()
    asked = argparse.ArgumentParser()
    asked.add_argument("--window", type=int, required=True)
    asked.add_argument("--overlap", type=int, required=True)
    asked.add_argument("--precision", required=True)
    wanted = asked.parse_args(options)
    bundle = open_bundle(str(folder / BUNDLE))
    runtime = Runtime(bundle, precision=wanted.precision)
    tiling = Tiling(wanted.window, wanted.overlap, bundle.contract.batch, parse_size("2GB"))
    scene = Scene.model_validate_json((folder / SCENE).read_text())
    names, sample = [c.name for c in bundle.contract.classes], load_params().drift.sample
    recorder = SceneProfile(bundle.contract.band_names, names, sample, (scene.height, scene.width), scene)
    with timed():
        raster = of_scene(scene, folder / "catalog", bundle.contract)
        predict(raster, bundle, runtime, out / "maps", tiling, recorder=recorder)
    (out / "maps" / "classes.tif").rename(out / "map.tif")


if __name__ == "__main__":
    main()
