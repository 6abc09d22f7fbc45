"""TorchGeo: a raster dataset, its grid sampler and a loader; each window is written where its bounds say."""

from __future__ import annotations

import numpy as np
import rasterio
import torch
from rasterio.windows import from_bounds
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

from benchmarks.peers import IMAGE
from benchmarks.peers.contender import BATCH, WINDOW, given, timed
from benchmarks.peers.mapping.network import DEVICE, load


def main() -> None:
    folder, out, _ = given()
    network = load(folder)
    with timed():
        dataset = RasterDataset([str(folder / IMAGE)])
        sampler = GridGeoSampler(dataset, WINDOW, WINDOW)
        if not len(sampler):
            raise SystemExit(f"its grid sampler leaves out rasters smaller than a window of {WINDOW} px")
        with rasterio.open(folder / IMAGE) as source:
            profile = source.profile | {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": None}
        with rasterio.open(out / "map.tif", "w", **profile) as target:
            for batch in DataLoader(dataset, BATCH, sampler=sampler, collate_fn=stack_samples):
                with torch.inference_mode():
                    classes = network(batch["image"].to(DEVICE)).argmax(1).cpu().numpy().astype(np.uint8)
                for (x, y, _), found in zip(batch["bounds"], classes, strict=True):
                    window = from_bounds(x.start, y.start, x.stop, y.stop, target.transform).round_offsets()
                    height, width = target.height - int(window.row_off), target.width - int(window.col_off)
                    target.write(found[:height, :width], 1, window=window.round_lengths())


if __name__ == "__main__":
    main()
