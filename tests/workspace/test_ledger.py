"""Entries that only accumulate, in a real repository that others push to, and tampering that is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.workspace.git import EMAIL, git
from pipelines.workspace.ledger import append, read
from tests.workspace.conftest import Repository

BRANCH = "swath-decisions/demo"


def add(*names: str) -> None:
    for name in names:
        append(BRANCH, lambda entries, name=name: {"name": name})


def told() -> list[str]:
    return [entry.content["name"] for entry in read(BRANCH).entries]


@pytest.fixture
def central(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository that is watched."""
    bare = tmp_path / "central.git"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(bare))
    return bare


def test_entries_reach_the_watched_repository_by_the_pipelines_own_author(repository: Repository) -> None:
    assert read(BRANCH).entries == ()
    add("a", "b")
    assert told() == ["a", "b"] and read(BRANCH).faults == ()
    log = repository.git("log", "--format=%ae", BRANCH).split()
    assert log == [EMAIL, EMAIL] and repository.git("status", "--porcelain") == ""
    assert '"b"' in repository.git("show", f"{BRANCH}:0002.json")


def test_what_is_told_of_a_repository_out_of_reach_holds_no_token(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("a")
    monkeypatch.setenv("SWATH_GIT_REMOTE", "https://user:s3cr3ttoken@127.0.0.1:9/team/region.git")
    found = read(BRANCH)
    assert "cannot be reached" in found.faults[0] and [entry.content["name"] for entry in found.entries] == ["a"]
    assert "s3cr3ttoken" not in str(found.faults)


def test_a_git_that_was_killed_at_its_work_holds_up_no_decision(repository: Repository) -> None:
    add("a")
    (settings().home / "decisions.git" / "refs" / "heads" / f"{BRANCH}.lock").touch()
    add("b")
    assert told() == ["a", "b"]


def test_nothing_is_added_where_there_is_nothing_to_add(repository: Repository) -> None:
    add("a")
    seen = append(BRANCH, lambda entries: None)
    assert [entry.content["name"] for entry in seen] == told() == ["a"]


def test_workers_that_write_at_once_lose_nothing(central: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pipelines.workspace.ledger import append\n"
        f"for i in range(4): append({BRANCH!r}, lambda entries: {{'name': f'{{sys.argv[1]}}-{{i}}'}})"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen([sys.executable, "-c", script, name], env=env | {"SWATH_HOME": str(tmp_path / f"home-{name}")})
        for name in ("one", "two", "three")
    ]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    found = read(BRANCH)
    assert sorted(told()) == sorted(f"{name}-{i}" for name in ("one", "two", "three") for i in range(4))
    assert [entry.number for entry in found.entries] == list(range(1, 13)) and found.faults == ()


def test_an_unpacked_archive_keeps_its_own(repository: Repository) -> None:
    shutil.rmtree(repository.folder / ".git")
    add("a", "b")
    assert told() == ["a", "b"] and read(BRANCH).faults == ()


def forge(central: Path, tmp_path: Path, *commands: list[str]) -> None:
    """Do with the branch what somebody with the right to push could do."""
    clone = tmp_path / "forger"
    git("clone", "--quiet", "--branch", BRANCH, str(central), str(clone), at=tmp_path)
    for command in commands:
        git(*command, at=clone)
    git("push", "--quiet", "--force", "origin", f"HEAD:{BRANCH}", at=clone)


def test_a_deleted_entry_is_noticed_by_machines_that_never_saw_it(
    central: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("a", "b", "c")
    forge(central, tmp_path, ["rm", "--quiet", "0002.json"], ["commit", "--quiet", "-m", "Record 4"])
    for home in (settings().home, tmp_path / "fresh"):
        monkeypatch.setenv("SWATH_HOME", str(home))
        (fault,) = read(BRANCH).faults
        assert "does not add record 4" in fault and "D 0002.json" in fault
        assert told() == ["a", "b", "c"], "what was deleted is still told"
        with pytest.raises(SwathError, match="No decision is added"):
            add("d")


def test_a_history_that_lacks_an_entry_is_noticed_by_machines_that_never_saw_it(
    central: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("a", "b", "c")
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--branch", BRANCH, str(central), str(clone), at=tmp_path)
    git("config", "user.name", "Swath", at=clone)
    git("config", "user.email", EMAIL, at=clone)
    git("rebase", "--quiet", "--onto", "HEAD~2", "HEAD~1", at=clone)  # the second is as if it had never been
    git("push", "--quiet", "--force", at=clone)
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "fresh"))
    assert "does not add record 2 and nothing else: A 0003.json" in read(BRANCH).faults[0]


def test_an_altered_entry_is_noticed(central: Path, tmp_path: Path) -> None:
    add("a", "b")
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--branch", BRANCH, str(central), str(clone), at=tmp_path)
    (clone / "0001.json").write_text('{"name": "z"}')
    git("commit", "--quiet", "--all", "-m", "Record 3", at=clone)
    git("push", "--quiet", at=clone)
    assert "M 0001.json" in read(BRANCH).faults[0] and told() == ["a", "b"]


def test_an_entry_of_somebody_elses_is_noticed(central: Path, tmp_path: Path) -> None:
    add("a")
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--branch", BRANCH, str(central), str(clone), at=tmp_path)
    (clone / "0002.json").write_text('{"name": "z"}')
    git("add", "--all", at=clone)
    git("commit", "--quiet", "-m", "Record 2", at=clone, env={"GIT_AUTHOR_EMAIL": "eve@example.org"})
    git("push", "--quiet", at=clone)
    assert "written by eve@example.org" in read(BRANCH).faults[0]


def test_a_rewritten_history_is_noticed_and_not_gone_on_from(central: Path, tmp_path: Path) -> None:
    add("a", "b")
    forge(central, tmp_path, ["reset", "--quiet", "--hard", "HEAD~1"], ["commit", "--quiet", "--amend", "-m", "x"])
    (fault,) = read(BRANCH).faults
    assert "was rewritten" in fault and str(settings().home) in fault
    assert told() == ["a", "b"], "what this machine saw is told"
    with pytest.raises(SwathError, match="was rewritten"):
        add("c")


def test_entries_that_the_repository_lost_are_noticed_and_come_back_with_the_next(central: Path) -> None:
    add("a", "b")
    first = git("rev-parse", f"{BRANCH}~1", at=central)
    git("update-ref", f"refs/heads/{BRANCH}", first, at=central)
    assert "lost its newest records" in read(BRANCH).faults[0] and told() == ["a", "b"]
    add("c")
    assert told() == ["a", "b", "c"] and read(BRANCH).faults == ()
    git("update-ref", "-d", f"refs/heads/{BRANCH}", at=central)
    assert "is gone" in read(BRANCH).faults[0]
    add("d")
    assert told() == ["a", "b", "c", "d"] and read(BRANCH).faults == ()


def test_a_repository_out_of_reach_lets_nothing_be_decided_and_tells_what_was_seen(
    central: Path, tmp_path: Path
) -> None:
    add("a")
    central.rename(tmp_path / "moved.git")
    assert "cannot be reached" in read(BRANCH).faults[0] and told() == ["a"]
    with pytest.raises(SwathError, match=r"central\.git"):
        add("b")
    (tmp_path / "moved.git").rename(central)
    assert told() == ["a"] and read(BRANCH).faults == ()
