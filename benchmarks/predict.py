"""Prediction: end to end against the bare network, and peak memory against the raster's height.

    python -m benchmarks.predict [--side 2048] [--encoder resnet18] [--heights 4096,40960] [--width 4096]

Speed is that of a U-Net, memory that of a small network, since what is shown is that height does not matter.

The network has random weights: what it answers does not change how long it takes. Each memory figure is the peak
resident size of a fresh process. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from benchmarks.peers.bundle import make_bundle
from pipelines.config.params import Model

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
WINDOW, OVERLAP, BATCH = 256, 64, 8
BUDGET = 4 * 10**9  # for the timed run, whose process has exported the network and still holds that memory


def make_raster(path: Path, height: int, width: int) -> None:
    """A tiled, compressed GeoTIFF of smooth noise with the six bands, written by rows."""
    random = np.random.default_rng(0)
    grid = {"crs": "EPSG:32721", "transform": Affine(10, 0, 500_000, 0, -10, 9_000_000), "nodata": 0}
    grid |= {
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
        "predictor": 2,
        "bigtiff": "if_safer",
    }
    shape = {"height": height, "width": width, "count": len(BANDS), "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **grid) as out:
        out.descriptions = BANDS
        for top in range(0, height, 512):
            rows = min(512, height - top)
            coarse = random.integers(400, 5000, (len(BANDS), rows // 16 + 1, width // 16 + 1), dtype=np.uint16)
            pixels = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :rows, :width]
            noise = random.integers(0, 60, pixels.shape, dtype=np.uint16)
            out.write(pixels + noise, window=rasterio.windows.Window(0, top, width, rows))


def run_once(bundle: Path, raster: Path, out: Path) -> dict[str, float]:
    """Predict, then run the bare network on as many windows in the same batches; in this process."""
    from pipelines.bundle.store import open_bundle
    from pipelines.inference.predict import Tiling, predict
    from pipelines.inference.raster import of_file
    from pipelines.inference.runtime import Runtime

    opened = open_bundle(bundle)
    runtime = Runtime(opened)
    image = of_file(raster, opened.contract)
    runtime(np.zeros((1, len(BANDS), WINDOW, WINDOW), np.float32))  # first use sets memory up
    tiling = Tiling(WINDOW, OVERLAP, BATCH, BUDGET)
    axes = tiling.axes(image, "segmentation")
    down, across = (len(axis.starts) for axis in axes)
    batches = down * [min(BATCH, across - i) for i in range(0, across, BATCH)]
    shape = (BATCH, len(BANDS), *(axis.window for axis in axes))
    pixels = np.random.default_rng(0).uniform(0, 0.5, shape).astype(np.float32)

    def bare() -> float:
        half = batches[: len(batches) // 2]
        began = time.perf_counter()
        with ThreadPoolExecutor(runtime.calls) as pool:
            list(pool.map(lambda size: runtime(pixels[:size]).shape, half))
        return (time.perf_counter() - began) * len(batches) / max(len(half), 1)

    before = bare()
    began = time.perf_counter()
    predict(image, opened, runtime, out, tiling)
    seconds = time.perf_counter() - began
    network = (before + bare()) / 2  # half of the windows on either side, so that a busy machine slows both alike
    return {"windows": down * across, "seconds": seconds, "network": network, "ratio": seconds / network}


def peak(bundle: Path, raster: Path, out: Path, budget: str) -> float:
    """Peak resident megabytes of `swath predict` in a process of its own."""
    command = [sys.executable, "-m", "pipelines", "predict", str(bundle), str(raster), "--out", str(out)]
    command += ["--max-memory", budget]
    program = f"import resource, subprocess; subprocess.run({command!r}, check=True, capture_output=True); "
    program += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return int(said) * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--side", type=int, default=2048, help="pixels of the square raster that is timed")
    asked.add_argument("--heights", default="4096,40960", help="of the rasters whose memory is measured")
    asked.add_argument("--width", type=int, default=4096)
    asked.add_argument("--max-memory", default="2GB", help="as `swath predict` takes it; wider rasters need more")
    asked.add_argument("--encoder", default="resnet18")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_bundle(folder / "bundle", Model(library="smp", name="Unet", encoder=given.encoder), BANDS)
        light = Model(library="smp", name="FPN", encoder="tu-mobilenetv3_small_050")
        make_bundle(folder / "small", light, BANDS)
        make_raster(folder / "square.tif", given.side, given.side)
        figures: dict[str, object] = {"speed": run_once(folder / "bundle", folder / "square.tif", folder / "square")}
        peaks = {}
        for height in map(int, given.heights.split(",")):
            make_raster(folder / "tall.tif", height, given.width)
            peaks[height] = round(peak(folder / "small", folder / "tall.tif", folder / "maps", given.max_memory))
        figures["peak_megabytes"] = peaks
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
