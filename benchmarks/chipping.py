"""Chipping one scene: ours against one decode, one write, plain windows and TorchGeo's grid sampler, side by side.

    python -m benchmarks.chipping [--side 10980] [--rounds 2]

The scene has 4 bands of uint16 (COG, 512 px tiles, DEFLATE) and a raster of labels; chips are 256 px and all of them
are kept. Each way runs in a process of its own, in turn, `--rounds` times; the fastest counts. Ours also writes masks
and the index, checks the scene's checksum, and hashes each chip for the leakage certificate. Prints one JSON object:
seconds, peak megabytes, and ratios to the slower of decoding and writing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

SIZE, BANDS, CLASSES = 256, ("B02", "B03", "B04", "B08"), ("water", "forest", "bare")
WAYS = ("decode", "write", "ours", "windows", "torchgeo")


def make_scene(folder: Path, side: int) -> None:
    """A scene in a catalog, its description and a raster of labels; noise over patches, as compressible as land."""
    from pipelines.files import write_json
    from tests.builders import write_scene

    random = np.random.default_rng(0)
    coarse = random.integers(400, 4000, (len(BANDS), side // 64 + 1, side // 64 + 1), dtype=np.uint16)
    pixels = coarse.repeat(64, axis=1).repeat(64, axis=2)[:, :side, :side]
    for band in pixels:
        band += random.integers(0, 200, band.shape, dtype=np.uint16)
    scene = write_scene(folder / "catalog", pixels, id="scene", bands=BANDS)
    image = folder / "catalog" / scene.image
    _to_cog(image)
    _to_cog(folder / "catalog" / scene.mask)
    labels = (coarse[0] % 3 + 1).astype(np.uint8).repeat(64, axis=0).repeat(64, axis=1)[:side, :side]
    (folder / "labels").mkdir()
    with rasterio.open(image) as source:
        grid = {"crs": source.crs, "transform": source.transform, "width": side, "height": side}
    grid |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(folder / "labels" / "scene.tif", "w", driver="GTiff", count=1, dtype="uint8", **grid) as out:
        out.write(labels, 1)
    from pipelines.files import sha256

    sums = {"image_sha256": sha256(image), "mask_sha256": sha256(folder / "catalog" / scene.mask)}
    write_json(folder / "scene.json", scene.model_copy(update=sums).model_dump(mode="json"))


def _to_cog(path: Path) -> None:
    import rasterio.shutil

    plain = path.rename(path.with_name(f"plain-{path.name}"))
    rasterio.shutil.copy(plain, path, driver="COG", BLOCKSIZE=512, COMPRESS="DEFLATE", PREDICTOR="YES", NUM_THREADS="2")
    plain.unlink()


def decode(folder: Path, out: Path) -> None:
    """Every block once, with two threads, and nothing kept."""
    with rasterio.open(folder / "catalog" / "scenes" / "scene" / "image.tif", NUM_THREADS="2") as source:
        for top in range(0, source.height, 512):
            source.read(window=Window(0, top, source.width, min(512, source.height - top)))


def write(folder: Path, out: Path) -> None:
    """The bytes of all chips, one after another."""
    with rasterio.open(folder / "labels" / "scene.tif") as source:
        chips = (source.width // SIZE) * (source.height // SIZE)
    chip = np.random.default_rng(0).integers(0, 4000, (len(BANDS), SIZE, SIZE), dtype=np.uint16)
    with (out / "bytes").open("wb") as stream:
        for _ in range(chips):
            stream.write(chip.data)
            stream.write(chip[0].view(np.uint8).data)  # as many bytes as labels and mask


def ours(folder: Path, out: Path) -> None:
    """The chip stage, from a plan to shards and an index."""
    import geopandas as gpd
    import yaml
    from shapely.geometry import box

    from pipelines.config import Params
    from pipelines.dataset.chips import cut_chips
    from pipelines.dataset.snapshot import Manifest
    from pipelines.scenes.scene import Scene

    values = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    values["scenes"] |= {"bands": BANDS, "assets": BANDS}
    values["labels"] |= {"source": str(folder / "labels"), "field": None}
    values["labels"]["classes"] = [{"name": n, "value": i + 1, "color": "#000000"} for i, n in enumerate(CLASSES)]
    values["chips"] |= {"size": SIZE, "stride": SIZE}
    scene = Scene.model_validate_json((folder / "scene.json").read_text())
    manifest = Manifest(project="benchmark", bands=BANDS, dtype="uint16", scenes=(scene,), labels=())
    places = [(r, c) for r in range(0, scene.height - SIZE + 1, SIZE) for c in range(0, scene.width - SIZE + 1, SIZE)]
    columns = {
        "chip_id": [f"{r}_{c}" for r, c in places],
        "scene_id": "scene",
        "split": [("train", "val", "test")[i % 3] for i in range(len(places))],
        "block_id": "b",
        "region": "r",
        "row": [r for r, _ in places],
        "col": [c for _, c in places],
        "size": SIZE,
    }
    plan = gpd.GeoDataFrame(columns, geometry=[box(0, 0, 1, 1)] * len(places), crs="EPSG:4326")
    cut_chips(plan, manifest, folder / "catalog", folder / "labels", Params.model_validate(values), out / "chips")


def windows(folder: Path, out: Path) -> None:
    """A plain loop: one window after another, each chip two npy files."""
    with (
        rasterio.open(folder / "catalog" / "scenes" / "scene" / "image.tif") as image,
        rasterio.open(folder / "labels" / "scene.tif") as labels,
    ):
        for row in range(0, image.height - SIZE + 1, SIZE):
            for column in range(0, image.width - SIZE + 1, SIZE):
                window = Window(column, row, SIZE, SIZE)
                np.save(out / f"image-{row}-{column}.npy", image.read(window=window))
                np.save(out / f"label-{row}-{column}.npy", labels.read(1, window=window))


def torchgeo(folder: Path, out: Path) -> None:
    """TorchGeo's grid sampler over an image and a mask dataset, each chip two npy files."""
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler

    class Labels(RasterDataset):
        is_image = False

    image = RasterDataset([str(folder / "catalog" / "scenes" / "scene" / "image.tif")])
    both = image & Labels([str(folder / "labels" / "scene.tif")])
    for number, query in enumerate(GridGeoSampler(both, SIZE, SIZE)):
        sample = both[query]
        np.save(out / f"image-{number}.npy", sample["image"].numpy())
        np.save(out / f"label-{number}.npy", sample["mask"].numpy())


def measured(way: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of one way, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [sys.executable, "-m", "benchmarks.chipping", "--way", way, "--folder", str(folder), "--out", out]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    return found["seconds"], found["megabytes"]


def peak() -> float:
    """Most megabytes that this process had; Linux's rusage would also count those of the process that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--side", type=int, default=10_980)
    asked.add_argument("--rounds", type=int, default=2)
    asked.add_argument("--ways", default=",".join(WAYS))
    asked.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.way:
        began = time.perf_counter()
        globals()[given.way](given.folder, given.out)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "megabytes": peak()}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_scene(folder, given.side)
        ways = given.ways.split(",")
        rounds = [{way: measured(way, folder) for way in ways} for _ in range(given.rounds)]
    best = {way: min(one[way] for one in rounds) for way in ways}
    slower = max(best[way][0] for way in ("decode", "write") if way in best)
    print(
        json.dumps(
            {
                "seconds": {way: round(seconds, 2) for way, (seconds, _) in best.items()},
                "megabytes": {way: round(peak) for way, (_, peak) in best.items()},
                "ratio": {way: round(seconds / slower, 2) for way, (seconds, _) in best.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
