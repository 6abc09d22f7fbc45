"""A secret that the environment holds is in nothing that a command prints or leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenes.servers import file_server
from tests.scenes.sources import item, write_catalog, write_scene_files
from tests.scenes.test_ingest import Project

ROOT = Path(__file__).parents[2]
PLANTED = "planted-7f3a9c51e2"


def said(project: Project, *command: str, **variables: str) -> str:
    """What a command prints, on both streams; it may fail."""
    environment = os.environ | {"SWATH_HOME": str(project.folder / "home"), "PYTHONPATH": str(ROOT)} | variables
    run = [sys.executable, "-m", "pipelines", *command]
    done = subprocess.run(run, cwd=project.folder, env=environment, capture_output=True, text=True, timeout=600)
    return done.stdout + done.stderr


def left(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and PLANTED.encode() in path.read_bytes()]


def test_a_signed_source_with_a_password_leaves_no_trace(tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = write_scene_files(source / "files", offset=-1000)
    with file_server(source) as (base, _):
        signed = {band: f"{base}/files/{band}.tif?X-Amz-Signature={PLANTED}" for band in files}
        lost = signed | {"B03": f"{base}/files/lost.tif?sig={PLANTED}"}
        write_catalog(source, [item("good", signed), item("lost", lost), item("../../bad", signed)])
        project = Project(tmp_path / "project", source)
        project.source_is(f"http://user:{PLANTED}@{base.removeprefix('http://')}/catalog.json?token={PLANTED}")
        printed = said(project, "ingest", "all")
    assert json.loads(printed[printed.index("{") : printed.index("}") + 1])["ids"] == ["good"], printed
    assert PLANTED not in printed
    assert left(project.folder / "home") == []


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        (["plan", "main"], {"SWATH_GIT_REMOTE": f"https://user:{PLANTED}@127.0.0.1:9/maps.git"}),
        (["model", "rollback", "--reason", "x"], {"MLFLOW_TRACKING_URI": f"http://user:{PLANTED}@127.0.0.1:9"}),
        (
            ["ingest", "search", "--run", "r"],
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": PLANTED, "AWS_SECRET_ACCESS_KEY": PLANTED},
        ),
    ],
    ids=["git", "mlflow", "s3"],
)
def test_what_cannot_be_reached_is_told_without_the_secret(
    tmp_path: Path, command: list[str], variables: dict[str, str]
) -> None:
    project = Project(tmp_path / "project", tmp_path)
    project.source_is("s3://imagery/2024")
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "AWS_MAX_ATTEMPTS": "1"}
    printed = said(project, *command, **variables | patience)
    assert "swath: " in printed and ("127.0.0.1" in printed or "s3://imagery" in printed), printed
    assert PLANTED not in printed
    assert left(project.folder / "home") == []
