from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipelines.errors import SwathError
from pipelines.workspace.changes import tip
from plugins import git_push
from plugins.git_push import GitPushTrigger
from tests.workspace.conftest import Repository, repository

__all__ = ["repository"]


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_push, "_ON_ITS_WAY", 0.2)


class Store:
    """Airflow's asset store as a trigger sees it, kept in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = value


def look(store: Store, seconds: float = 1.5) -> list[dict[str, Any]]:
    """What a trigger tells within a moment, when started and then killed."""

    async def listen() -> list[dict[str, Any]]:
        trigger = GitPushTrigger(interval=0.05)
        trigger.asset_state_store = store  # type: ignore[assignment]
        told: list[dict[str, Any]] = []

        async def collect() -> None:
            async for event in trigger.run():
                told.append(event.payload)  # noqa: PERF401 - what came before the kill must be kept

        task = asyncio.create_task(collect())
        await asyncio.sleep(seconds)
        task.cancel()
        return told

    return asyncio.run(listen())


def test_the_first_look_only_takes_note(repository: Repository) -> None:
    store = Store()
    assert look(store) == []
    assert store.values["seen"] == repository.git("rev-parse", "HEAD")


def test_a_burst_of_pushes_is_one_event_that_a_restarted_trigger_neither_loses_nor_doubles(
    repository: Repository,
) -> None:
    store = Store()
    look(store)
    for rows in (5, 6, 7):  # pushed while no trigger is alive
        repository.write("params.yaml", f"project: demo\ndata: {{rows: {rows}}}\ntrain: {{lr: 1}}\n")
        last = repository.commit(f"{rows} rows")
    assert look(store) == [{"revision": last, "files": ["params.yaml"]}]
    assert look(store) == []


@pytest.mark.parametrize(("noted", "times"), [(False, 2), (True, 1)])
def test_a_push_is_never_lost_where_the_triggerer_dies_about_noting_it(
    repository: Repository, noted: bool, times: int
) -> None:
    class Dying(Store):
        async def aset(self, key: str, value: Any) -> None:
            if noted:
                await super().aset(key, value)
            raise asyncio.CancelledError

    store, dying = Store(), Dying()
    look(store)
    dying.values = store.values
    repository.write("params.yaml", "project: demo\ndata: {rows: 5}\ntrain: {lr: 1}\n")
    last = repository.commit("5 rows")
    told = [event["revision"] for event in look(dying) + look(store)]
    assert told == [last] * times


def test_a_push_is_not_lost_with_the_memory_of_a_triggerer_that_dies_when_it_has_told_it(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    look(store)
    repository.write("params.yaml", "project: demo\ndata: {rows: 5}\ntrain: {lr: 1}\n")
    last = repository.commit("5 rows")
    monkeypatch.setattr(git_push, "_ON_ITS_WAY", 60)
    assert [event["revision"] for event in look(store)] == [last]  # and Airflow's database never saw it
    monkeypatch.setattr(git_push, "_ON_ITS_WAY", 0.2)
    assert [event["revision"] for event in look(store)] == [last]


def test_a_server_that_says_nothing_is_given_up(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_HTTP_LOW_SPEED_TIME", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        monkeypatch.setenv("SWATH_GIT_REMOTE", f"http://127.0.0.1:{silent.getsockname()[1]}/silent.git")
        with pytest.raises(SwathError, match="git fetch"):
            pool.submit(tip).result(timeout=60)


def test_a_push_of_words_is_noted_and_not_told(repository: Repository) -> None:
    store = Store()
    look(store)
    repository.write("README.md", "words\n")
    last = repository.commit("Explain")
    assert look(store) == []
    assert store.values["seen"] == last


def test_a_repository_that_is_away_is_waited_for(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    look(store)
    monkeypatch.setenv("SWATH_GIT_REMOTE", "https://127.0.0.1:9/away.git")
    assert look(store) == []
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(repository.folder))
    repository.write("params.yaml", "project: demo\ndata: {rows: 9}\ntrain: {lr: 1}\n")
    last = repository.commit("Nine")
    assert [event["revision"] for event in look(store)] == [last]
