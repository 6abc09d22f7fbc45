"""Ingestion on two machines in turn: the bytes of one, whenever one of them dies."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.depot.store import Store
from tests.depot.machines import Machine, copied, files, held
from tests.scenes.sources import item, params, write_catalog, write_scene_files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good scenes, the first on an earlier day, and one that is cut off."""
    folder = tmp_path_factory.mktemp("desk")
    scenes = {name: write_scene_files(folder / name, offset=-1000, seed=i) for i, name in enumerate("abcd")}
    scenes["d"]["B03"].write_bytes(scenes["d"]["B03"].read_bytes()[:9000])
    documents = [
        item(name, found, when=f"2024-07-0{1 if name == 'a' else 2}T14:00:00Z") for name, found in scenes.items()
    ]
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values |= {"project": "test", "scenes": params(write_catalog(folder, documents)).model_dump(mode="json")}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return folder


DAY = ("--until", "2024-07-01")  # when there was one scene


def ingest(turn: Callable[[str], Machine], *dates: str, steps: int = 4) -> dict[str, Any]:
    """An ingestion or its first steps, each command on the machine whose turn it is; what the last one handed over."""
    told = turn("search").swath("ingest", "search", "--run", "r1", *dates)
    for shard in map(str, range(told["shards"] if steps > 1 else 0)):
        turn("fetch").swath("ingest", "fetch", "--run", "r1", "--shard", shard)
        if steps > 2:
            turn("validate").swath("ingest", "validate", "--run", "r1", "--shard", shard)
    return turn("publish").swath("ingest", "publish", "--run", "r1") if steps > 3 else told


def content(found: dict[str, bytes]) -> dict[str, Any]:
    """Metadata without the times of runs, of Data Docs what pages there are."""

    def timeless(key: str, body: bytes) -> Any:
        if key.startswith("reports/"):
            return None
        if not key.endswith(".json"):
            return body
        return {name: each for name, each in json.loads(body).items() if name not in ("when", "data_docs")}

    return {re.sub(r"\d{8}T[\d.]+Z", "TIME", key): timeless(key, body) for key, body in found.items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {**one, "data_docs": None} == {**other, "data_docs": None}


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours catches it."""


def kill_at(number: int, patch: pytest.MonkeyPatch) -> None:
    """Let the process die before its write ``number`` to the store, those of Data Docs not counted."""
    done = itertools.count()

    def fatal(write: Any) -> Any:
        def written(self: Store, *arguments: Any) -> Any:
            keys = list(arguments[0]) if write.__name__ == "delete" else [arguments[1]]
            if keys and not str(keys[0]).startswith("reports/") and next(done) >= number:
                raise Killed
            return write(self, keys if write.__name__ == "delete" else arguments[0], *arguments[1:])

        return written

    for name in ("put", "exchange", "copy", "delete"):
        patch.setattr(Store, name, fatal(getattr(Store, name)))


def killed(machine: Machine, number: int, *command: str) -> bool:
    """Whether ``command`` died before its write ``number``, or had fewer."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(number, patch)
        try:
            machine.swath(*command)
        except Killed:
            return True
    return False


def test_two_machines_in_turn_leave_the_bytes_of_one(desk: Path, tmp_path: Path, store: str) -> None:
    single = Machine(tmp_path / "single", desk, None)
    expected = ingest(lambda _: single)
    one, other = (Machine(tmp_path / name, desk, store) for name in ("one", "other"))
    told = ingest({"search": one, "fetch": other, "validate": one, "publish": one}.__getitem__)
    assert same(told, expected) and told["ids"] == ["a", "b", "c"] and told["quarantined"] == 1
    assert told["data_docs"] == f"{store}/reports/test/data_docs/index.html"
    assert content(held(store)) == content(files(single.home))
    assert not one.cached(".tif"), "who searches, checks and publishes needs no pixels"
    assert not [view for each in (one, other) for view in (each.home / "depot" / "views").glob("[!.]*")]
    assert same(other.swath("ingest", "publish", "--run", "r1"), expected), "cleared and run again elsewhere"
    again = ingest({"search": other, "publish": one}.__getitem__)
    assert (again["published"], again["scenes"], again["changed"]) == (0, 3, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "command", "writes"),
    [(1, "fetch", ("0 two", "1 one", "2 two", "3 one")), (3, "publish", ("1 two", "3 one", "4 one", "5 two", "6 two"))],
)
def test_a_command_killed_at_any_write_is_finished_by_the_same_or_another_machine(
    desk: Path, tmp_path: Path, store: str, steps: int, command: str, writes: Sequence[str]
) -> None:
    words = ("ingest", command, "--run", "r1", *(("--shard", "0") if command == "fetch" else ()))
    ingest(lambda _: Machine(tmp_path / "first", desk, store), *DAY, steps=steps)
    undisturbed = copied(store, f"{store}-undisturbed")
    expected = Machine(tmp_path / "undisturbed", desk, undisturbed).swath(*words)
    for write in writes:
        number, finisher = write.split()
        other = copied(store, f"{store}-{number}")
        machines = {name: Machine(tmp_path / f"{name}-{number}", desk, other) for name in ("one", "two")}
        assert killed(machines["one"], int(number), *words), "or there were fewer writes than this test knows"
        assert same(machines[finisher].swath(*words), expected), write
        assert content(held(other)) == content(held(undisturbed)), write
        assert same(machines["one"].swath(*words), expected), f"{write}: and once more changes nothing"
        assert content(held(other)) == content(held(undisturbed)), write


@pytest.mark.slow
def test_two_publishing_at_once_lose_nothing(desk: Path, tmp_path: Path, store: str) -> None:
    one, other = (Machine(tmp_path / name, desk, store) for name in ("one", "other"))
    for run, dates in (("r1", DAY), ("r2", ("--since", "2024-07-02"))):
        for shard in range(one.swath("ingest", "search", "--run", run, *dates)["shards"]):
            one.swath("ingest", "fetch", "--run", run, "--shard", str(shard))
    exchange, met = Store.exchange, []

    def slow(self: Store, source: Path, key: str, former: Any) -> Any:
        if key.endswith("test/catalog.json") and not met:  # the other is faster by a whole command
            command = [sys.executable, "-m", "pipelines", "ingest", "publish", "--run", "r2"]
            met.append(subprocess.run(command, cwd=desk, env=os.environ | other.environment(), check=True))
        return exchange(self, source, key, former)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "exchange", slow)
        told = one.swath("ingest", "publish", "--run", "r1")
    assert met and told["published"] == 1 and told["scenes"] == 3 and told["changed"]
    links = [link["title"] for link in json.loads(held(store)["catalog/test/catalog.json"])["links"] if "title" in link]
    assert links == ["a", "b", "c"]
    assert not [key for key in held(store) if "/staging/" in key and not key.endswith("result.json")]
