from __future__ import annotations

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
