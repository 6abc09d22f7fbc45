"""Every step from search to the page, each a process of its own, over worlds of more and more scenes."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.scales import world
from benchmarks.scales.maps import write_maps
from benchmarks.scales.measure import Cost, command
from benchmarks.scales.project import PROJECT

_SWATH = ("-m", "pipelines")
_STEP = ("-m", "benchmarks.scales.steps")

COMMANDS: dict[str, tuple[str, ...]] = {
    "search, all new": (*_SWATH, "ingest", "search", "--run", "first"),
    "fetch, one shard": (*_SWATH, "ingest", "fetch", "--run", "first", "--shard", "0"),
    "publish, all new": (*_SWATH, "ingest", "publish", "--run", "first"),
    "search, none new": (*_SWATH, "ingest", "search", "--run", "second"),
    "publish, none new": (*_SWATH, "ingest", "publish", "--run", "second"),
    "snapshot": (*_SWATH, "snapshot"),
    "split": (*_SWATH, "split"),
    "chip": (*_SWATH, "chip"),
    "validate": (*_SWATH, "validate"),
    "statistics": (*_SWATH, "statistics"),
    "profile": (*_SWATH, "profile"),
    "map plan": (*_STEP, "plan"),
    "map publish": (*_STEP, "list-maps"),
    "drift profile": (*_STEP, "collect"),
    "drift compare": (*_STEP, "compare"),
    "drift report": (*_STEP, "report"),
    "page, layers": (*_STEP, "atlas"),
    "page, a tile": (*_STEP, "tile"),
}
"""In the order in which they need each other."""


def costs(count: int) -> Iterator[tuple[str, Cost]]:
    """What each of ``COMMANDS`` costs in a world of ``count`` scenes."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        world.write_labels(home, count)
        with _api(world.write_items(home, count)) as address:
            world.write_params(home, address)
            places = {"SWATH_HOME": str(home), "SWATH_GIT_REMOTE": str(home)}
            for name, arguments in COMMANDS.items():
                if name == "fetch, one shard":
                    world.stage(home / "catalog" / PROJECT, "first")
                if name == "map plan":
                    write_maps(home)
                after = (str(home),) if arguments[1] == _STEP[1] else ()
                yield name, command((*arguments, *after), home, places)


@contextmanager
def _api(items: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    server = world.serve(items, address)
    try:
        for _ in range(1200):
            try:
                httpx.get(f"http://{address}").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()
