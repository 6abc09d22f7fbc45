"""Ours as a person calls it: ``swath predict``."""

from __future__ import annotations

from benchmarks.peers import IMAGE
from benchmarks.peers.contender import given, timed
from benchmarks.peers.mapping import BUNDLE


def main() -> None:
    folder, out, _ = given()
    with timed():
        from pipelines.cli.main import commands  # what it imports is part of what it takes

        commands()(["predict", str(folder / BUNDLE), str(folder / IMAGE), "--out", str(out)], standalone_mode=False)
    (out / "image" / "classes.tif").rename(out / "map.tif")


if __name__ == "__main__":
    main()
