"""``python -m tests.faults``: faults by the hundred, a line for each, and the table of them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from tests.faults.record import Outcome, table
from tests.faults.world import World


def main() -> None:
    """Strike, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of tasks under the scheduler")
    parser.add_argument("--each", type=int, default=8, help="kills of each command by itself")
    parser.add_argument("--spoils", type=int, default=3, help="full disks, rotten objects, broken downloads for each")
    parser.add_argument("--outages", default="scheduler,api-server,dag-processor,triggerer,mlflow:60", help="services")
    parser.add_argument("--part", choices=["desk", "scheduler"], help="only commands by themselves, or only Airflow")
    parser.add_argument("--seed", type=int, default=0, help="decides what is struck, when and how")
    parser.add_argument("--begin", help="with this task, as train_model.train; those before are not struck")
    parser.add_argument("--only", help="repeat one alone, by the name that its line begins with")
    work = Path(os.environ.get("SWATH_HOME") or "var") / "faults"
    parser.add_argument("--work", type=Path, default=work, help="folder of the installations that are struck")
    parser.add_argument("--minutes", type=float, default=60, help="start no fault later than this")
    asked = parser.parse_args()
    deadline = time.monotonic() + 60 * asked.minutes
    print(f"seed {asked.seed}", flush=True)
    outcomes: list[Outcome] = []
    for part, strike in (("desk", _desk), ("scheduler", _scheduler)):
        wanted = asked.part in (None, part) and (not asked.only or (":round:" in asked.only) == (part == "scheduler"))
        if not wanted:
            continue
        with closing(strike(asked)) as struck:
            for some in struck:
                outcomes += some
                for one in some:
                    print(f"{one.name}: {one.kind}: {one.fate} {one.note}", flush=True)
                if time.monotonic() > deadline:
                    break
    print(table(outcomes))


def _desk(asked: argparse.Namespace) -> Generator[list[Outcome]]:
    world = World(asked.work.absolute() / "desk")
    world.enter()
    from tests.faults.desk import strikes  # Airflow, which it imports, reads its configuration at once

    source = world.make()
    try:
        for one in strikes(world, source, asked.each, asked.spoils, asked.seed, asked.only, asked.begin):
            yield [one]
    finally:
        source.shutdown()
        world.unmake()


def _scheduler(asked: argparse.Namespace) -> Generator[list[Outcome]]:
    world = World(asked.work.absolute() / "airflow")
    world.enter()
    from tests.faults.scheduler import rounds

    source = world.make()
    try:
        yield from rounds(world, asked.kills, asked.outages.split(","), asked.seed, asked.only)
    finally:
        source.shutdown()
        world.unmake()


if __name__ == "__main__":
    main()
