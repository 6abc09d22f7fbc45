"""Every block once, with two threads, and nothing kept."""

from __future__ import annotations

import rasterio
from rasterio.windows import Window

from benchmarks.peers import IMAGE
from benchmarks.peers.contender import given, timed


def main() -> None:
    folder, _, _ = given()
    with timed(), rasterio.open(folder / IMAGE, NUM_THREADS="2") as source:
        for top in range(0, source.height, 512):
            source.read(window=Window(0, top, source.width, min(512, source.height - top)))


if __name__ == "__main__":
    main()
