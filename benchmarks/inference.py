"""Maps of one scene: ours against loops over rasterio and TorchGeo, against Raster Vision and rslearn, side by side.

    python -m benchmarks.inference [--side 4096] [--small 200] [--rounds 2] [--install]

A scene of 4 bands of uint16 (COG, 512 px tiles, DEFLATE) becomes a map by the same network, a U-Net with ResNet-18 that
was trained for a moment, by each contender in a process of its own, on all processors. The peers take windows of
256 px without overlap, torch in full precision, and write a GeoTIFF of classes. Ours overlaps and blends its windows
and writes classes and confidence as COGs with overviews, an item and the profile of the watch. The bare network over
the windows that ours needs (`passes`) is what no code around it could beat.

Then a raster of `--small` pixels a side, where what counts is the whole process from its start, imports and loading
included; ours is `swath predict` there.

`--install` makes missing environments of peers from PyPI below SWATH_HOME/cache/peers, of a few gigabytes that share
their files with uv's cache; without it a peer without environment is named and left out. Prints tables, then one JSON
object. Two rounds at the default size take about twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from benchmarks.peers.environment import RASTER_VISION, RSLEARN
from benchmarks.peers.mapping.work import make_work
from benchmarks.peers.race import Contender, Result, race, table
from pipelines.config import load_params

PLAIN = "rasterio loop"
PEERS = (
    Contender(PLAIN, "mapping.windows", needed=True),
    Contender("TorchGeo loop", "mapping.torchgeo"),
    Contender("Raster Vision", "mapping.raster_vision", environment=RASTER_VISION),
    Contender("rslearn", "mapping.rslearn", environment=RSLEARN),
)


def ours(window: int, overlap: int) -> list[Contender]:
    """Ours in windows of that size, in both precisions, and the bare network over these windows."""
    sizes = ("--window", str(window), "--overlap", str(overlap))
    named = {f"ours {window} px {precision}": ("ours", "--precision", precision) for precision in ("f32", "bf16")}
    named |= {f"passes {window} px {name}": ("passes", "--runtime", name) for name in ("openvino", "onnxruntime")}
    return [
        Contender(name, f"mapping.{module}", (*sizes, *rest), needed=True) for name, (module, *rest) in named.items()
    ]


class Maps:
    """How far maps agree with the plain loop's: the work must be the same for the times to mean anything."""

    def __init__(self) -> None:
        self.first: NDArray[np.uint8] | None = None
        self.same: dict[str, float] = {}

    def __call__(self, name: str, out: Path) -> None:
        if not (out / "map.tif").exists():
            return
        with rasterio.open(out / "map.tif") as source:
            classes = source.read(1)
        self.first = classes if self.first is None else self.first
        self.same[name] = float((classes == self.first).mean())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--side", type=int, default=4096, help="pixels of the square scene")
    asked.add_argument("--small", type=int, default=200, help="pixels of the small one; 0 for none")
    asked.add_argument("--rounds", type=int, default=2, help="of all contenders, in turn")
    asked.add_argument("--windows", default="256,512", help="pixels of ours; the overlap is that of params.yaml")
    asked.add_argument("--install", action="store_true", help="make missing environments of peers, from PyPI")
    given = asked.parse_args()
    overlap = load_params().predict.overlap
    windows = [int(word) for word in given.windows.split(",")]
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "large"
        make_work(folder, given.side)
        contenders = [*PEERS, *(one for window in windows for one in ours(window, overlap))]
        maps = Maps()
        result = race(contenders, folder, given.rounds, install=given.install, look=maps)
        figures[f"{given.side} px"] = told(result, maps, given.side, windows)
        if given.small:
            large, folder = folder, Path(scratch) / "small"
            make_work(folder, given.small, like=large)
            contenders = [*PEERS, Contender("ours", "mapping.command", needed=True)]
            result = race(contenders, folder, given.rounds + 1, install=given.install)
            figures[f"{given.small} px, whole processes"] = told_whole(result, given.small)
    print(json.dumps(figures))


def told(result: Result, maps: Maps, side: int, windows: list[int]) -> dict[str, object]:
    """Print the race over the large scene and return its figures."""
    megapixels = side * side / 1e6
    best = {name: result.best(name) for name in result.runs}
    fastest = {w: min(run.seconds for n, run in best.items() if n.startswith(f"passes {w} px")) for w in windows}
    figures = {}
    for name, run in best.items():
        rate = megapixels / run.seconds
        figure = {"megapixels a second": round(rate, 3), "peak megabytes": round(run.megabytes)}
        figure["times the plain loop"] = round(best[PLAIN].seconds / run.seconds, 2)
        if name.startswith("ours"):
            figure["of the passes"] = round(run.seconds / fastest[int(name.split()[1])], 3)
        if name in maps.same:
            figure["same pixels"] = round(maps.same[name], 4)
        figures[name] = figure
    print(f"\n{side} x {side} px, {megapixels:.1f} megapixels of map, the work alone")
    heads = ("megapixels a second", "peak megabytes", "times the plain loop", "of the passes", "same pixels")
    say(figures, heads)
    return {"figures": figures, "not run": say_missing(result)}


def told_whole(result: Result, side: int) -> dict[str, object]:
    """Print the race over the small raster and return its figures."""
    best = {name: result.best(name) for name in result.runs}
    figures = {}
    for name, run in best.items():
        figures[name] = {"seconds": round(run.whole, 2), "peak megabytes": round(run.megabytes)}
        figures[name]["times the plain loop"] = round(best[PLAIN].whole / run.whole, 2)
    print(f"\n{side} x {side} px, the whole process")
    say(figures, ("seconds", "peak megabytes", "times the plain loop"))
    return {"figures": figures, "not run": say_missing(result)}


def say(figures: dict[str, dict[str, float]], heads: Sequence[str]) -> None:
    print(table([(name, *(figure.get(head, "") for head in heads)) for name, figure in figures.items()], ("", *heads)))


def say_missing(result: Result) -> dict[str, str]:
    for name, reason in result.missing.items():
        print(f"not run: {name}: {reason}")
    return result.missing


if __name__ == "__main__":
    main()
