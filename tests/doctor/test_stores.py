"""The watched repository, the DVC remote and the databases."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from pipelines.doctor.databases import MIGRATIONS, database, migrations
from pipelines.doctor.repository import remote, watched
from pipelines.workspace.git import git
from tests.doctor.conftest import only
from tests.scenes.servers import s3


def test_the_watched_repository_answers_and_has_its_branch(tmp_path: Path) -> None:
    bare = tmp_path / "watched"
    git("init", "--quiet", "--bare", str(bare), at=tmp_path)
    assert "no branch main" in only(watched(str(bare), "main"), "fault").what
    commit = git("commit-tree", git("hash-object", "-t", "tree", "-w", "/dev/null", at=bare), "-m", "Begin", at=bare)
    git("update-ref", "refs/heads/main", commit, at=bare)
    only(watched(str(bare), "main"), "fine")
    only(watched(bare.as_uri(), "main"), "fine")
    only(watched((tmp_path / "nowhere").as_uri(), "main"), "fault")
    (tmp_path / "unpacked").mkdir()
    only(watched(str(tmp_path / "unpacked"), "main"), "skipped")


def test_an_address_that_is_dead_is_told_without_its_token() -> None:
    found = only(watched("http://ada:ghp_secret@127.0.0.1:9/team/region.git", "main"), "fault")
    assert "127.0.0.1:9/team/region.git" in found.what and "ghp_secret" not in found.what


def test_a_folder_as_dvc_remote_is_written_read_and_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "remote"
    only(remote(str(folder)), "fine")
    assert not folder.exists(), "looking makes nothing"
    folder.mkdir()
    only(remote(str(folder)), "fine")
    assert not list(folder.iterdir())
    (tmp_path / "file").touch()
    only(remote(str(tmp_path / "file" / "remote")), "fault")


@pytest.mark.slow
def test_a_bucket_as_dvc_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    with s3(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        objects = s3fs.S3FileSystem(skip_instance_cache=True)
        objects.mkdir("dvc")
        only(remote("s3://dvc/data"), "fine")
        assert not objects.find("dvc", detail=False)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        only(remote("s3://dvc/data"), "fault")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    only(remote("s3://dvc/data"), "fault")
    assert time.monotonic() - began < 60


@pytest.mark.slow
@pytest.mark.parametrize("package", MIGRATIONS)
def test_the_newest_schema_is_the_one_that_alembic_names(package: str) -> None:
    import importlib

    from alembic.script import ScriptDirectory

    folder = Path(str(importlib.import_module(package).__file__)).parent / MIGRATIONS[package]
    heads, known = migrations(package)
    script = ScriptDirectory(str(folder.parent))
    assert heads == set(script.get_heads()) and known == {one.revision for one in script.walk_revisions()}


@pytest.mark.slow
def test_a_database_is_whole_and_of_the_schema_of_the_installed_version(tmp_path: Path) -> None:
    import mlflow

    path = tmp_path / "mlflow.db"
    only(database(path, "mlflow", "migrate"), "skipped")
    assert not path.exists(), "looking makes nothing"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    only(database(path, "mlflow", "migrate"), "fine")

    def at(revision: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))

    heads, known = migrations("mlflow")
    at(min(known - heads))
    found = only(database(path, "mlflow", "migrate"), "fault")
    assert "older" in found.what and found.do == "migrate"
    at("0123456789ab")
    assert "newer" in only(database(path, "mlflow", "migrate"), "fault").what
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    only(database(path, "mlflow", "migrate"), "fault")
