"""Stages of a run that come to another machine than those of the run before: it has nothing of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.workspace.source import resolve
from pipelines.workspace.stage import Lock, StageResult, reproduce
from pipelines.workspace.workspace import open_workspace
from tests.depot.machines import client
from tests.workspace.conftest import Repository, repository

__all__ = ["repository"]

pytestmark = pytest.mark.slow  # each test calls dvc many times, at about a second each

STAGES = ("chip", "train", "evaluate")


@pytest.fixture
def desk(repository: Repository, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("SWATH_STORE", store)
    monkeypatch.setenv("SWATH_DVC_REMOTE", f"{store}-dvc")
    return repository


def run(machine: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[StageResult], bytes]:
    """All stages on a machine, and the bytes of the last."""
    monkeypatch.setenv("SWATH_HOME", str(machine))
    folder, lock, found = open_workspace("one", resolve(None)), Lock(), []
    for stage in STAGES:
        found.append(reproduce(folder, stage, lock, {}))
        lock = found[-1].lock
    return found, (folder / "data" / "score").read_bytes()


def test_what_one_machine_made_another_takes_and_does_not_make_again(
    desk: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, score = run(tmp_path / "one", monkeypatch)
    taken, same = run(tmp_path / "other", monkeypatch)
    assert [result.reused for result in made] == [False, False, False]
    assert [result.reused for result in taken] == [True, True, True]
    assert same == score and [result.outputs for result in taken] == [result.outputs for result in made]
    desk.write("params.yaml", "project: demo\ndata: {rows: 3}\ntrain: {lr: 2}\n")
    desk.commit("Train harder")
    again, _ = run(tmp_path / "third", monkeypatch)
    assert [result.reused for result in again] == [True, False, True]


def test_what_was_made_before_a_kill_is_known_to_all_after_the_next_try(
    desk: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.workspace.results.keep", lambda *_: None)  # it dies before it can tell
        run(tmp_path / "one", monkeypatch)
    again, _ = run(tmp_path / "one", monkeypatch)
    taken, _ = run(tmp_path / "other", monkeypatch)
    assert [result.reused for result in again + taken] == [True] * 6


def test_what_the_remote_has_lost_is_made_again(
    desk: Repository, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, score = run(tmp_path / "one", monkeypatch)
    model = made[1].outputs["data/model"]
    key = f"{store.removeprefix('s3://swath/')}-dvc/files/md5/{model[:2]}/{model[2:]}"
    assert client().head_object(Bucket="swath", Key=key)
    client().delete_object(Bucket="swath", Key=key)
    again, same = run(tmp_path / "other", monkeypatch)
    assert [result.reused for result in again] == [True, False, True] and same == score
    assert client().head_object(Bucket="swath", Key=key)
