"""Chipping one scene: ours against one decode, one write, plain windows and the peers, side by side.

    python -m benchmarks.chipping [--side 4096] [--rounds 2] [--install]

The scene has 4 bands of uint16 (COG, 512 px tiles, DEFLATE) and a raster of labels; chips are 256 px and all of them
are kept. Each way runs in a process of its own, in turn, `--rounds` times; the fastest counts. Ours also writes masks
and the index, checks the scene's checksum, and hashes each chip for the leakage certificate.

`--install` makes missing environments of peers from PyPI; without it a peer without environment is named and left out.
Prints a table and one JSON object: seconds, peak megabytes, and ratios to the slower of decoding and writing. Two
rounds take about two minutes on two cores; a whole Sentinel-2 tile (`--side 10980`) takes seven times as long.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.peers.environment import RASTER_VISION, RSLEARN
from benchmarks.peers.race import Contender, race, table
from benchmarks.peers.scene import make_scene

WAYS = (
    Contender("decode", "chipping.decode", needed=True),
    Contender("write", "chipping.write", needed=True),
    Contender("ours", "chipping.ours", needed=True),
    Contender("rasterio windows", "chipping.windows"),
    Contender("gdal_retile", "chipping.gdal_retile"),
    Contender("TorchGeo", "chipping.torchgeo"),
    Contender("Raster Vision", "chipping.raster_vision", environment=RASTER_VISION),
    Contender("rslearn", "chipping.rslearn", environment=RSLEARN),
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--side", type=int, default=4096, help="pixels of the square scene")
    asked.add_argument("--rounds", type=int, default=2)
    asked.add_argument("--install", action="store_true", help="make missing environments of peers, from PyPI")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make_scene(Path(scratch), given.side)
        result = race(WAYS, Path(scratch), given.rounds, install=given.install)
    best = {name: result.best(name) for name in result.runs}
    slower = max(best[name].seconds for name in ("decode", "write"))
    figures = {
        name: {
            "seconds": round(run.seconds, 2),
            "peak megabytes": round(run.megabytes),
            "ratio": round(run.seconds / slower, 2),
        }
        for name, run in best.items()
    }
    print(table([(name, *figure.values()) for name, figure in figures.items()], ("", *figures["decode"])))
    for name, reason in result.missing.items():
        print(f"not run: {name}: {reason}")
    print(json.dumps({"side": given.side, "figures": figures, "not run": result.missing}))


if __name__ == "__main__":
    main()
