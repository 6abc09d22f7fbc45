"""How cost grows: with scenes, chips, rows of a raster, workers, and revisions of a dataset.

    python -m benchmarks.scaling [--out FOLDER] [--only scenes,chips,rasters,workers,revisions] [--full]

Every step is a process of its own; told are its processor seconds, which a busy machine does not change much, and its
peak memory. By default a few minutes on two cores; ``--full`` goes on to 10,000 scenes, a million chips and rasters of
40,960 rows, which takes hours. ``--sizes`` measures other sizes. Figures are added to ``scaling.json`` in FOLDER, so
runs can be joined; ``scaling.md`` and ``scaling.png`` are made from all that is in it, by ``--only nothing`` too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.scales import chips, rasters, revisions, scenes
from benchmarks.scales.measure import Cost
from benchmarks.scales.report import Figures, plot, table
from pipelines.config import settings
from pipelines.files import write_json, write_text

FAMILIES: dict[str, Callable[[int], Iterator[tuple[str, Cost]]]] = {
    "scenes": scenes.costs,
    "chips": chips.costs,
    "rasters": rasters.costs,
    "workers": rasters.shared,
    "revisions": revisions.costs,
}
SHORT = {
    "scenes": (10, 100, 300),
    "chips": (1_000, 10_000, 100_000),
    "rasters": (1_024, 2_048, 4_096),
    "workers": (1, 2),
    "revisions": (2, 6),
}
FULL = {
    "scenes": (10, 100, 1_000, 10_000),
    "chips": (1_000, 10_000, 100_000, 1_000_000),
    "rasters": (4_096, 12_288, 40_960),
    "workers": (1, 2),
    "revisions": (10, 100),
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--out", type=Path, default=settings().home / "scaling", help="folder of the results")
    asked.add_argument("--only", default=",".join(FAMILIES), help="what grows")
    asked.add_argument("--full", action="store_true")
    asked.add_argument("--sizes", help="by commas, in place of the usual ones; with one of --only")
    given = asked.parse_args()
    file = given.out / "scaling.json"
    figures: Figures = json.loads(file.read_text()) if file.exists() else {}
    for family in (name for name in given.only.split(",") if name in FAMILIES):
        sizes = map(int, given.sizes.split(",")) if given.sizes else (FULL if given.full else SHORT)[family]
        for size in sizes:
            for step, cost in FAMILIES[family](size):
                found = [round(cost.seconds, 2), round(cost.megabytes)]
                print(f"{family} {size:,} {step}: {found[0]} s, {found[1]} MB", file=sys.stderr, flush=True)
                figures.setdefault(family, {}).setdefault(step, {})[str(size)] = found
                write_json(file, figures)
    write_text(given.out / "scaling.md", table(figures))
    plot(figures, given.out / "scaling.png")
    print(table(figures))


if __name__ == "__main__":
    main()
