"""A plain loop: one window after another, each chip two npy files."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.windows import Window

from benchmarks.peers import IMAGE, LABELS
from benchmarks.peers.contender import WINDOW, given, timed


def main() -> None:
    folder, out, _ = given()
    with timed(), rasterio.open(folder / IMAGE) as image, rasterio.open(folder / LABELS) as labels:
        for row in range(0, image.height - WINDOW + 1, WINDOW):
            for column in range(0, image.width - WINDOW + 1, WINDOW):
                window = Window(column, row, WINDOW, WINDOW)
                np.save(out / f"image-{row}-{column}.npy", image.read(window=window))
                np.save(out / f"label-{row}-{column}.npy", labels.read(1, window=window))


if __name__ == "__main__":
    main()
