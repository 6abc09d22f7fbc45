from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.versions import app
from pipelines.errors import BadData
from tests.workspace.conftest import Repository


def test_a_release_is_of_the_commit_that_its_process_works_at(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``swath at`` hands the commit on by the environment; the watched branch may have gone on since."""
    monkeypatch.setenv("SWATH_REVISION", "neither-here-nor-there")
    with pytest.raises(BadData, match="neither-here-nor-there"):
        CliRunner().invoke(app, ["release", "--run", "one"], catch_exceptions=False)


def test_a_pin_is_of_the_checkout_whatever_address_is_watched(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "watched.git"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", f"file://{tmp_path}/watched.git")
    monkeypatch.chdir(repository.folder)
    result = CliRunner().invoke(app, ["pin"], catch_exceptions=False)
    assert json.loads(result.stdout) == {"commit": repository.git("rev-parse", "HEAD"), "edited": False}
    repository.write("params.yaml", "project: demo\ndata: {rows: 4}\ntrain: {lr: 1}\n")
    commit = json.loads(CliRunner().invoke(app, ["pin"], catch_exceptions=False).stdout)["commit"]
    assert "rows: 4" in repository.git("--git-dir", str(tmp_path / "watched.git"), "show", f"{commit}:params.yaml")
