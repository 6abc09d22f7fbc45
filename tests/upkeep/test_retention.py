"""What `maintain` takes and what it leaves alone, kind by kind."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from pipelines.errors import SwathError
from pipelines.upkeep.cache import remove_cached
from pipelines.upkeep.models import collect, remove_failed, remove_maps
from pipelines.upkeep.retention import remove_stale

DAY = 86_400


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SWATH_CATALOG", "SWATH_PREDICTIONS", "SWATH_REPORTS", "SWATH_DVC_REMOTE", "SWATH_DVC_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", raising=False)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path))
    return tmp_path


def put(path: Path, days: float, text: str = "x") -> Path:
    """A file, and the folder that holds it, last touched so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for one in (path, path.parent):
        os.utime(one, (time.time() - days * DAY,) * 2)
    return path


def test_a_run_that_may_still_be_at_work_keeps_its_folders_whatever_is_asked(home: Path) -> None:
    for name in ("workspaces/train_model.x/f", "training/x/f", "predictions/p/staging/x/f", "catalog/p/staging/x/f"):
        put(home / name, 2)
    before = sorted(home.rglob("f"))
    remove_stale(1)
    assert sorted(home.rglob("f")) == before
    for path in before:
        put(path, 4)
    remove_stale(1)
    assert not list(home.rglob("f"))


def test_what_dvc_copied_halfway_goes_and_what_it_copies_now_stays(home: Path) -> None:
    for side in ("cache", "remote"):
        put(home / "dvc" / side / "files" / "md5" / "ab" / ".QWxhIG1ha290YQ.tmp", 4)
        put(home / "dvc" / side / "files" / "md5" / "cd" / ".c2EgbWEgYWxlLg.tmp", 1)
        put(home / "dvc" / side / "files" / "md5" / "ab" / "cdef", 4)
    assert remove_stale(1)["half-written"] == 2
    left = sorted(path.name for path in home.rglob("*") if path.is_file())
    assert left == [".c2EgbWEgYWxlLg.tmp"] * 2 + ["cdef"] * 2


def test_of_the_watch_the_newest_run_and_those_that_called_for_a_training_stay(home: Path) -> None:
    for run, days, retrain in (("a", 90, "true"), ("b", 80, "false"), ("c", 70, "false")):
        put(home / "reports" / "p" / "drift" / run / "verdict.json", days, f'{{"retrain": {retrain}}}')
    put(home / "reports" / "p" / "drift" / "retrain.json", 90, "{}")
    os.utime(home / "reports" / "p" / "drift" / "b", (time.time() - 80 * DAY,) * 2)
    assert remove_stale(30)["reports of drift"] == 1
    assert sorted(path.name for path in (home / "reports" / "p" / "drift").iterdir()) == ["a", "c", "retrain.json"]


def test_a_log_that_a_service_appends_to_keeps_its_end_and_goes_on(home: Path) -> None:
    log = home / "logs" / "scheduler.log"
    log.parent.mkdir()
    with log.open("ab", buffering=0) as service:
        service.write(b"".join(b"line %08d\n" % number for number in range(2_000_000)))
        assert remove_stale(30)["logs shortened"] == 1
        service.write(b"the next\n")
    lines = log.read_bytes().splitlines()
    assert lines[-2:] == [b"line 01999999", b"the next"] and lines[0].startswith(b"line ")
    assert len(lines[0]) == len(b"line 00000000") and log.stat().st_size < 10_000_100
    assert remove_stale(30)["logs shortened"] == 0


def test_only_what_the_remote_has_too_and_no_workspace_links_to_leaves_the_cache(home: Path) -> None:
    cache, remote = (home / "dvc" / side / "files" / "md5" for side in ("cache", "remote"))
    for name, there in (("both", "x"), ("alone", None), ("half", ""), ("linked", "x")):
        put(cache / "ab" / name, 40)
        if there is not None:
            put(remote / "ab" / name, 40, there)
    put(cache / "cd" / "young", 1)
    put(remote / "cd" / "young", 1)
    link = home / "workspaces" / "run" / "data" / "chips" / "0.npy"
    link.parent.mkdir(parents=True)
    link.symlink_to(cache / "ab" / "linked")
    assert remove_cached(30) == 1
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == ["alone", "half", "linked", "young"]
    assert link.read_text() == "x"


def test_maps_of_the_champion_and_of_the_newest_others_stay(home: Path) -> None:
    for number in range(1, 6):
        put(home / "predictions" / "p" / f"v{number}" / "scene" / "item.json", 40, "{}")
    assert remove_maps("p", None, 0) == [], "who is in charge is not known"
    assert remove_maps("p", 2, 2) == ["v3", "v1"]
    assert sorted(path.name for path in (home / "predictions" / "p").iterdir()) == ["catalog.json", "v2", "v4", "v5"]
    assert "v3" not in (home / "predictions" / "p" / "catalog.json").read_text()


@pytest.mark.slow
def test_of_mlflow_failed_runs_go_and_nothing_that_a_version_needs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.evaluation.tracking import store

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert collect(30) is False, "looking makes nothing"
    with store() as client:
        experiment = client.create_experiment("p", (home / "mlflow" / "artifacts").as_uri())
        ended = int((time.time() - 40 * DAY) * 1000)
        runs = {}
        for name, status in (
            ("failed", "FAILED"),
            ("finished", "FINISHED"),
            ("version", "FAILED"),
            ("young", "FAILED"),
        ):
            runs[name] = client.create_run(experiment).info.run_id
            client.log_text(runs[name], "x", "weights")
            client.set_tag(runs[name], "swath.project", "p")
            client.set_terminated(runs[name], status, None if name == "young" else ended)
        other = client.create_run(client.create_experiment("another team's")).info.run_id
        client.set_terminated(other, "FAILED", ended)
        client.create_registered_model("p")
        client.create_model_version("p", "runs:/x", runs["version"])
        assert remove_failed(30) == 1
        assert client.get_run(runs["failed"]).info.lifecycle_stage == "deleted"
        assert client.get_run(other).info.lifecycle_stage == "active"

        def kept() -> set[str]:
            return {path.parts[-3] for path in (home / "mlflow" / "artifacts").rglob("weights")}

        assert collect(30) and kept() == set(runs.values()), "it was deleted just now"
        client.delete_run(runs["version"])
        with sqlite3.connect(home / "mlflow" / "mlflow.db") as connection:
            connection.execute("UPDATE runs SET deleted_time = ? WHERE lifecycle_stage = 'deleted'", (ended,))
        with pytest.raises(SwathError, match="version 1 of p"):
            collect(30)
        assert kept() == set(runs.values())
        client.restore_run(runs["version"])
        assert collect(30) and kept() == set(runs.values()) - {runs["failed"]}
