"""The store itself, the cache of what came from it, and what goes from both after a while."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import settings
from pipelines.depot import bring, brought, cache, work
from pipelines.depot.store import Conflict, Store
from pipelines.errors import SwathError
from pipelines.files import write_json
from pipelines.upkeep.models import project_folders, remove_maps
from pipelines.upkeep.retention import remove_stale
from pipelines.workspace import results
from pipelines.workspace.results import find as find_result
from pipelines.workspace.results import keep as keep_result
from tests.depot.machines import held


@pytest.fixture(autouse=True)
def home(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWATH_STORE", store)
    return tmp_path / "home"


def text(folder: Path, content: str) -> Path:
    path = folder / "file.json"
    path.write_text(content)
    return path


def test_of_many_who_write_the_same_object_one_succeeds_each_time(tmp_path: Path, store: str) -> None:
    here, former = Store(store), None
    files = [tmp_path / f"{number}.json" for number in range(8)]

    def write(file: Path) -> bool:
        try:
            here.exchange(file, "state.json", former)
        except Conflict:
            return False
        return True

    for turn in range(3):
        for number, file in enumerate(files):
            file.write_text(f"{turn} {number}")
        with ThreadPoolExecutor(8) as pool:
            won = [file for file, done in zip(files, pool.map(write, files), strict=True) if done]
        assert len(won) == 1 and held(store)["state.json"] == won[0].read_bytes()
        assert here.exchange(won[0], "state.json", None), "an answer that was lost: the same bytes are no conflict"
        former = here.one("state.json")


def test_what_changed_since_it_was_listed_is_not_taken_for_it(tmp_path: Path, store: str) -> None:
    here = Store(store)
    listed = here.put(text(tmp_path, "one"), "a.tif")
    here.put(text(tmp_path, "two"), "a.tif")
    with pytest.raises(Conflict):
        here.fetch(listed, tmp_path / "got")
    with pytest.raises(Conflict):
        here.copy(listed, "b.tif")
    here.delete(["a.tif", "never"])
    with pytest.raises(Conflict, match="removed"):
        here.fetch(listed, tmp_path / "got")
    assert not (tmp_path / "got").exists() and held(store) == {}


@pytest.mark.parametrize("address", ["swath", "s3://", "http://swath/x"])
def test_an_address_that_is_none_is_refused_with_a_sentence(address: str) -> None:
    with pytest.raises(SwathError, match="SWATH_STORE"):
        Store(address)


def test_pixels_come_when_they_are_asked_for_and_anew_when_they_changed(home: Path, store: str) -> None:
    def make(content: str) -> None:
        folder = settings().catalog / "p" / "scenes" / "a"
        bring(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("image.tif", "mask.tif"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text(content)

    def look() -> tuple[list[str], str]:
        folder = settings().catalog / "p" / "scenes" / "a"
        bring(folder)
        names = sorted(path.name for path in folder.iterdir())
        assert not (folder / "mask.tif").exists(), "nobody asked for it"
        return names, brought(folder / "image.tif").read_text()

    work("make", lambda: make("one"))
    for version in (home / "depot" / "objects").rglob("*@*"):
        version.unlink()  # as on another machine
    assert work("look", look) == (["image.tif", "mask.tif"], "one")
    work("make", lambda: make("two"))
    for version in (home / "depot" / "objects").rglob("mask.tif@*"):
        version.unlink()
    assert work("look", look) == (["image.tif", "mask.tif"], "two")
    missing = work("look", lambda: brought(settings().catalog / "p" / "none.tif").exists())
    assert missing is False


def test_what_failed_keeps_what_it_had_made(store: str) -> None:
    def body() -> None:
        write_json(settings().catalog / "p" / "quarantine" / "a.json", {"reason": "bad"})
        raise SwathError("The rest is out of reach.")

    with pytest.raises(SwathError, match="out of reach"):
        work("fail", body)
    assert list(held(store)) == ["catalog/p/quarantine/a.json"]


def test_of_work_that_was_killed_drafts_are_found_again_and_nothing_else(store: str) -> None:
    class Killed(BaseException):
        pass

    def body() -> list[str]:
        folder = settings().catalog / "p" / "staging" / "r"
        found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        write_json(folder / "scenes" / "a" / "a.json", {})
        (folder / "scenes" / ".b.work").mkdir(exist_ok=True)
        (folder / "scenes" / ".b.work" / "rows").touch()
        if not found:
            raise Killed
        return found

    with pytest.raises(Killed):
        work("map", body)
    assert held(store) == {}
    assert work("map", body) == ["scenes", "scenes/.b.work", "scenes/.b.work/rows"]
    assert list(held(store)) == ["catalog/p/staging/r/scenes/a/a.json"]


def test_the_cache_forgets_what_was_used_the_longest_ago(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_STORE_CACHE", "0.000003")  # 3,000 bytes
    objects = home / "depot" / "objects"
    now = time.time()
    for hours in (1.5, 2, 3, 4):
        path = objects / "catalog" / f"{hours}.tif@e"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1_000))
        os.utime(path, (now - hours * 3_600, now))
    cache.tidy()
    assert sorted(path.name for path in objects.rglob("*@*")) == ["1.5.tif@e", "2.tif@e", "3.tif@e"]


def test_what_a_killed_fetch_left_and_what_a_view_links_to_are_no_bother(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_STORE_CACHE", "0.000001")
    objects, view = home / "depot" / "objects", home / "depot" / "views" / "map"
    old = time.time() - 30 * 3_600
    for name in ("linked.json@e", "free.json@e", ".image.tif@e.0/image.tif@e"):
        (objects / name).parent.mkdir(parents=True, exist_ok=True)
        (objects / name).write_bytes(bytes(900))
        os.utime(objects / name, (old, old))
    os.utime(objects / ".image.tif@e.0", (old, old))
    view.mkdir(parents=True)
    (view / "linked.json").symlink_to(objects / "linked.json@e")
    cache.tidy()
    assert [path.name for path in objects.rglob("*")] == ["linked.json@e"]


def test_the_version_that_was_written_is_told_though_another_is_written_at_once(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Store(store)
    for name in ("ours", "theirs"):
        (tmp_path / name).write_text(name)
    real = place._client.put_object

    def overtaken(**words: Any) -> Any:
        answer = real(**words)
        real(Bucket=words["Bucket"], Key=words["Key"], Body=b"theirs")
        return answer

    monkeypatch.setattr(place._client, "put_object", overtaken)
    sent = [place.put(tmp_path / "ours", "a"), place.exchange(tmp_path / "ours", "b.json", None)]
    monkeypatch.undo()
    monkeypatch.setenv("SWATH_STORE", store)
    for one in sent:
        with pytest.raises(Conflict):
            place.exchange(tmp_path / "ours", one.key, one)
        assert place.read(one.key) == b"theirs"


def test_maintenance_reaches_the_store(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        for run, retrain in (("a", True), ("b", False), ("c", False)):
            write_json(settings().reports / "p" / "drift" / run / "verdict.json", {"retrain": retrain})
            (settings().reports / "p" / "drift" / run / "report.html").write_text(run)
        write_json(settings().reports / "p" / "drift" / "0-killed" / "comparison.json", {})
        for version in (1, 2, 3):
            write_json(settings().predictions / "p" / f"v{version}" / "s" / "item.json", {})
            (settings().predictions / "p" / f"v{version}" / "s" / "classes.tif").write_bytes(b"x")
        write_json(settings().catalog / "p" / "staging" / "old" / "plan.json", {})
        write_json(settings().catalog / "p" / "scenes" / "a" / "a.json", {})
        write_json(settings().predictions / "p" / "staging" / "old" / "plan.json", {})

    def maps() -> list[str]:
        assert project_folders() == ["p"]
        return remove_maps("p", 1, 1)

    work("old", body)
    keep_result("old", {})
    assert sum(work("maintain", lambda: remove_stale(1)).values()) == 0
    days = time.time() + 4 * 86_400
    monkeypatch.setattr("pipelines.upkeep.retention.time.time", lambda: days)
    gone = work("maintain", lambda: remove_stale(1))
    assert gone["staging of scenes in the store"] == gone["staging of maps in the store"] == 1
    assert gone["reports of drift"] == 2  # b, and the one that was killed before its verdict
    assert gone["results of stages in the store"] == 1
    keep_result("young", {})
    monkeypatch.setenv("SWATH_HOME", f"{settings().home}-of-another")  # a machine that has brought no byte of the maps
    assert work("maintain", maps) == ["v2"]
    kept = {key: body for key, body in held(store).items() if not key.startswith("stages/")}
    assert find_result("young") == {} and find_result("old") is None
    assert list(kept) == [
        "catalog/p/scenes/a/a.json",
        "predictions/p/catalog.json",
        *[f"predictions/p/v{v}/{name}" for v in (1, 3) for name in ("catalog.json", "s/classes.tif", "s/item.json")],
        *[f"reports/p/drift/{run}/{name}" for run in ("a", "c") for name in ("report.html", "verdict.json")],
    ]
    assert b"v2" not in kept["predictions/p/catalog.json"]
    for version in (1, 3):
        links = json.loads(kept[f"predictions/p/v{version}/catalog.json"])["links"]
        assert [link["href"] for link in links if link["rel"] == "item"] == ["./s/item.json"]


def test_what_a_stage_gave_stays_in_the_store_as_long_as_it_is_asked_for(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    keep_result("stage", {"cmd": "train"})
    monkeypatch.setattr(results, "keep", lambda key, entry: kept.append(key))
    assert find_result("stage") == {"cmd": "train"} and kept == []
    later = time.time() + 2 * 86_400
    monkeypatch.setattr(results.time, "time", lambda: later)
    assert find_result("stage") == {"cmd": "train"} and kept == ["stage"], "written anew, it is young again"


def test_a_scene_is_whole_before_the_next_is_begun(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    put, exchange = Store.put, Store.exchange
    monkeypatch.setattr("pipelines.depot.view.AT_ONCE", 1)
    monkeypatch.setattr(Store, "put", lambda self, source, key: sent.append(key) or put(self, source, key))
    monkeypatch.setattr(
        Store, "exchange", lambda self, source, key, former: sent.append(key) or exchange(self, source, key, former)
    )

    def body() -> None:
        for id in "ab":
            folder = settings().catalog / "p" / "scenes" / id
            write_json(folder / f"{id}.json", {})
            (folder / "image.tif").write_bytes(b"x")
        write_json(settings().catalog / "p" / "catalog.json", {})

    work("publish", body)
    scenes = "catalog/p/scenes"
    assert sent == [
        *[f"{scenes}/{id}/{name}" for id in "ab" for name in ("image.tif", f"{id}.json")],
        "catalog/p/catalog.json",
    ]
