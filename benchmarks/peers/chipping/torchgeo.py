"""TorchGeo's grid sampler over an image and a mask dataset, each chip two npy files."""

from __future__ import annotations

import numpy as np
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GridGeoSampler

from benchmarks.peers import IMAGE, LABELS
from benchmarks.peers.contender import WINDOW, given, timed


class Labels(RasterDataset):
    is_image = False


def main() -> None:
    folder, out, _ = given()
    with timed():
        both = RasterDataset([str(folder / IMAGE)]) & Labels([str(folder / LABELS)])
        for number, query in enumerate(GridGeoSampler(both, WINDOW, WINDOW)):
            sample = both[query]
            np.save(out / f"image-{number}.npy", sample["image"].numpy())
            np.save(out / f"label-{number}.npy", sample["mask"].numpy())


if __name__ == "__main__":
    main()
