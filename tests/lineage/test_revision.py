"""The commit that a model is said to be of is that of its own folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.lineage.revision import REVISION, revision


def commit(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes").write_text(folder.name)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "--quiet"], ["add", "notes"], ["commit", "--quiet", "--message", "Begin"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True).stdout.strip()


def test_an_archive_that_lies_in_somebodys_repository_is_of_none_of_its_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REVISION, raising=False)
    outer = commit(tmp_path / "home")
    archive = tmp_path / "home" / "swath"
    archive.mkdir()
    assert revision(tmp_path / "home").commit == outer
    assert revision(archive).commit is None
    assert revision(archive).commit != commit(archive) == revision(archive).commit
