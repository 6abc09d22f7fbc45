"""A plain loop, as most notebooks have it: a batch of windows is read, predicted, and written, in turn."""

from __future__ import annotations

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from benchmarks.peers import IMAGE
from benchmarks.peers.contender import BATCH, WINDOW, given, timed
from benchmarks.peers.mapping.network import DEVICE, load


def main() -> None:
    folder, out, _ = given()
    network = load(folder)
    with timed(), rasterio.open(folder / IMAGE) as source:
        profile = source.profile | {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": None}
        places = [(r, c) for r in range(0, source.height, WINDOW) for c in range(0, source.width, WINDOW)]
        with rasterio.open(out / "map.tif", "w", **profile) as target:
            for start in range(0, len(places), BATCH):
                batch = [Window(c, r, WINDOW, WINDOW) for r, c in places[start : start + BATCH]]
                over = any(w.row_off + WINDOW > source.height or w.col_off + WINDOW > source.width for w in batch)
                pixels = np.stack([source.read(window=window, boundless=over) for window in batch])
                with torch.inference_mode():
                    logits = network(torch.from_numpy(pixels.astype(np.float32)).to(DEVICE))
                    classes = logits.argmax(1).cpu().numpy().astype(np.uint8)
                for window, found in zip(batch, classes, strict=True):
                    inside = window.intersection(Window(0, 0, source.width, source.height))
                    target.write(found[: inside.height, : inside.width], 1, window=inside)


if __name__ == "__main__":
    main()
