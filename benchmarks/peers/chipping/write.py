"""The bytes of all chips, one after another."""

from __future__ import annotations

import numpy as np
import rasterio

from benchmarks.peers import IMAGE
from benchmarks.peers.contender import WINDOW, given, timed


def main() -> None:
    folder, out, _ = given()
    with rasterio.open(folder / IMAGE) as source:
        chips, bands = (source.width // WINDOW) * (source.height // WINDOW), source.count
    chip = np.random.default_rng(0).integers(0, 4000, (bands, WINDOW, WINDOW), dtype=np.uint16)
    with timed(), (out / "bytes").open("wb") as stream:
        for _ in range(chips):
            stream.write(chip.data)
            stream.write(chip[0].view(np.uint8).data)  # as many bytes as labels and mask


if __name__ == "__main__":
    main()
