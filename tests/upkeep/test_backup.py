"""Copies of the state: whole or refused, small where little changed, and never restored over something."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.errors import BadData, SwathError
from pipelines.files import read_json, replacing, write_json, write_secret
from pipelines.upkeep import backup as backups
from pipelines.upkeep.backup import backup, copies, place_of, read_manifest
from pipelines.upkeep.restore import restore
from pipelines.upkeep.trees import Entry
from pipelines.workspace.git import git
from pipelines.workspace.ledger import append, read


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small state, with a file of each kind."""
    for name in ("CATALOG", "PREDICTIONS", "REPORTS", "DVC_REMOTE", "DVC_CACHE"):
        monkeypatch.delenv(f"SWATH_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = tmp_path / "home"
    monkeypatch.setenv("SWATH_HOME", str(made))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "watched"))
    (tmp_path / "watched").mkdir()
    git("init", "--quiet", "--bare", ".", at=tmp_path / "watched")
    files = ("predictions/p/v1/a/classes.tif", "dvc/remote/files/md5/ab/cd")
    for name in ("catalog/p/scenes/a/image.tif", "stages/p/train.json", *files):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(name.encode() * 1000)
    for name in ("workspaces/run/f", "dvc/cache/f", "catalog/p/staging/run/plan.json", "logs/scheduler.log"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("can be had again")
    write_secret(made / "airflow" / "passwords.json", {"admin": "x"})
    (made / "reports" / "p").mkdir(parents=True)
    append("swath-decisions/p", lambda entries: {"verdict": "promote"})
    with closing(sqlite3.connect(made / "airflow" / "airflow.db")) as connection, connection:
        connection.execute("CREATE TABLE run (id)")
        connection.execute("INSERT INTO run VALUES ('first')")
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def contents(folder: Path) -> dict[str, tuple[bytes | None, int, int]]:
    """Bytes, mode and time of everything that is copied."""
    skipped = ("workspaces", "cache", "staging", "logs")
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else None,
            path.stat().st_mode,
            path.stat().st_mtime_ns if path.is_file() else 0,
        )
        for path in sorted(folder.rglob("*"))
        if not set(path.relative_to(folder).parts) & set(skipped) and path.suffix != ".lock"
    }


def objects(store: Path) -> set[Path]:
    return {path for path in (store / "objects").rglob("*") if path.is_file()}


def test_what_was_made_comes_back_to_the_byte_and_what_can_be_had_again_does_not(home: Path, store: Path) -> None:
    decided = read("swath-decisions/p")
    before = contents(home)
    backup(store, 7)
    home.rename(home.with_name("lost"))
    restore(store)
    after = contents(home)
    for name in before.keys() | after.keys():
        if not name.endswith(".db"):  # whose pages SQLite lays out itself
            assert before.get(name) == after.get(name), name
    assert not (home / "workspaces").exists() and not (home / "catalog" / "p" / "staging").exists()
    assert read("swath-decisions/p") == decided and not decided.faults
    assert not (store.stat().st_mode & 0o077), "the copy holds the secrets too"


def test_folders_that_lie_on_a_larger_disk_are_copied_and_come_back(home: Path, store: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for name in ("catalog", "predictions/p"):
        (home / name).rename(disk / Path(name).name)
        (home / name).symlink_to(disk / Path(name).name)
    (disk / "p" / "round").symlink_to(tmp_path)  # which holds what it lies in
    (disk / "p" / "latest").symlink_to("v1")
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "peer").symlink_to(tmp_path / other)
    (home / "reports" / "p" / "peer").symlink_to(tmp_path / "one")
    backup(store, 7)
    shutil.rmtree(disk)
    home.rename(home.with_name("lost"))
    restore(store)
    assert (home / "catalog/p/scenes/a/image.tif").read_bytes() == b"catalog/p/scenes/a/image.tif" * 1000
    assert (home / "predictions/p/v1/a/classes.tif").read_bytes() == b"predictions/p/v1/a/classes.tif" * 1000
    assert (home / "predictions/p/latest").is_symlink(), "what leads within what is copied stays what it is"


def test_a_store_behind_a_link_is_refused_too(home: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (home / "reports" / "p" / "disk").symlink_to(tmp_path / "disk")
    with pytest.raises(BadData, match="lies in what is to be copied"):
        backup(tmp_path / "disk" / "copies", 7)


def test_a_second_copy_writes_only_what_changed_and_an_old_one_takes_its_own_with_it(home: Path, store: Path) -> None:
    first = backup(store, 2)
    had = objects(store)
    assert objects(store) == had == objects(store)
    backup(store, 2)
    assert objects(store) == had
    (home / "predictions" / "p" / "v1" / "a" / "classes.tif").write_bytes(b"another")
    backup(store, 2)
    assert len(objects(store) - had) == 1 and not first.exists()
    backup(store, 1)
    assert len(copies(store)) == 1 and len(had - objects(store)) == 1


def test_other_bytes_of_the_same_size_are_copied_as_a_branch_that_moved_is(home: Path, store: Path) -> None:
    backup(store, 2)
    append("swath-decisions/p", lambda entries: {"verdict": "refuse"})
    file = home / "catalog" / "p" / "scenes" / "a" / "image.tif"
    file.write_bytes(file.read_bytes()[::-1])
    backup(store, 2)
    kept = {name: what for name, what in contents(home).items() if not name.startswith("airflow")}
    assert any(name.startswith("decisions.git/refs") for name in kept)
    shutil.rmtree(home)
    restore(copies(store)[-1])
    assert {name: what for name, what in contents(home).items() if not name.startswith("airflow")} == kept


def test_a_map_that_is_replaced_while_it_is_copied_is_of_one_moment(
    home: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "predictions" / "p" / "v1" / "a"
    (folder / "item.json").write_bytes(b"old")

    def copied(store: Path, name: str, path: Path, known: dict[str, Entry]) -> Entry:
        found = entry(store, name, path, known)
        if name.endswith("classes.tif") and path.read_bytes() != b"new":
            with replacing(folder) as draft:
                draft.mkdir()
                for each in ("classes.tif", "item.json"):
                    (draft / each).write_bytes(b"new")
        return found

    entry = backups._entry
    monkeypatch.setattr(backups, "_entry", copied)
    backup(store, 7)
    home.rename(home.with_name("lost"))
    restore(store)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"classes.tif": b"new", "item.json": b"new"}


def test_a_database_is_copied_as_of_one_moment_while_another_process_writes(home: Path, store: Path) -> None:
    writer = sqlite3.connect(home / "airflow" / "airflow.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO run VALUES ('second')")  # which lies in the log beside the database alone
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO run VALUES ('never committed')")
    backup(store, 7)
    writer.close()
    home.rename(home.with_name("lost"))
    restore(store)
    with closing(sqlite3.connect(home / "airflow" / "airflow.db")) as connection:
        assert connection.execute("SELECT id FROM run").fetchall() == [("first",), ("second",)]


def test_nothing_is_restored_over_something(home: Path, store: Path) -> None:
    backup(store, 7)
    before = contents(home)
    with pytest.raises(BadData, match="holds something already"):
        restore(store)
    assert contents(home) == before


def test_a_copy_that_is_not_whole_is_refused_before_anything_is_written(home: Path, store: Path) -> None:
    manifest = backup(store, 7)
    home.rename(home.with_name("lost"))
    entry = next(e for e in read_manifest(manifest).entries if e.path.endswith("classes.tif"))
    content = place_of(store, str(entry.sha256))
    whole = content.read_bytes()
    for broken in (whole[:-1], None):
        content.unlink()
        if broken is not None:
            content.write_bytes(broken)
        with pytest.raises(BadData, match=r"not whole: .*classes\.tif"):
            restore(store)
    assert not home.exists()
    content.write_bytes(b"y" + whole[1:])
    with pytest.raises(SwathError, match="sha256 differs"):
        restore(store)
    assert not (home / "predictions").exists(), "no tree appears with a wrong file in it"
    content.write_bytes(whole)
    restore(store)
    assert (home / "predictions" / "p" / "v1" / "a" / "classes.tif").read_bytes() == whole


@pytest.mark.parametrize("way", ["../../../evil", "out/evil"])
def test_a_copy_that_somebody_else_made_leads_out_of_no_folder(
    home: Path, store: Path, tmp_path: Path, way: str
) -> None:
    manifest = backup(store, 7)
    written = read_json(manifest)
    file = next(entry for entry in written["entries"] if entry["path"] == "catalog/p/scenes/a/image.tif")
    out = file | {"path": "catalog/out", "link": str(tmp_path), "sha256": None, "size": 0}
    written["entries"] += [out, file | {"path": f"catalog/{way}"}]
    write_json(manifest, written)
    shutil.rmtree(home)
    with pytest.raises(BadData, match="would lie outside of catalog"):
        restore(store)
    assert not list(tmp_path.rglob("evil"))


def test_a_copy_that_was_cut_off_is_none_and_the_next_goes_on(home: Path, store: Path) -> None:
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom pipelines.upkeep import backup\n"
        "backup.write_text = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"  # the moment before it is whole
        f"backup.backup(Path({str(store)!r}), 7)"
    )
    subprocess.run([sys.executable, "-c", script])
    assert objects(store)
    with pytest.raises(BadData, match="holds no copy that was finished"):
        restore(store)
    had = {path: path.stat().st_ino for path in objects(store)}
    backup(store, 7)
    assert had.items() <= {path: path.stat().st_ino for path in objects(store)}.items()


def test_a_restore_that_was_cut_off_goes_on_when_it_is_asked_again(home: Path, store: Path) -> None:
    backup(store, 7)
    shutil.rmtree(home)
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom pipelines.upkeep import restore\n"
        "write = restore._write\n"
        "def stop(store, entries, name, draft):\n"
        "    write(store, entries, name, draft)\n"
        "    if name == 'predictions': os.kill(os.getpid(), signal.SIGKILL)\n"
        f"restore._write = stop\nrestore.restore(Path({str(store)!r}))"
    )
    subprocess.run([sys.executable, "-c", script])
    assert (home / "catalog").exists() and not (home / "predictions").exists()
    restore(store)
    assert (home / "predictions" / "p" / "v1" / "a" / "classes.tif").exists() and not (home / "restore.json").exists()


def test_drafts_of_others_and_a_store_inside_of_the_state(home: Path, store: Path) -> None:
    with replacing(home / "predictions" / "p" / "v1" / "b") as draft:
        draft.mkdir()
        maps = [entry.path for entry in read_manifest(backup(store, 7)).entries if "/v1/" in entry.path]
        assert maps == ["predictions/p/v1/a", "predictions/p/v1/a/classes.tif"]
    with pytest.raises(BadData, match="lies in what is to be copied"):
        backup(home / "reports" / "copies", 7)


def test_a_project_or_branch_may_be_called_as_runs_call_what_passes(home: Path, store: Path) -> None:
    for name in ("catalog/staging/scenes/a/image.tif", "predictions/p/v1/staging/classes.tif"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text("made")
    append("swath-decisions/staging", lambda entries: {"verdict": "refuse"})
    decided = read("swath-decisions/staging")
    backup(store, 7)
    home.rename(home.with_name("lost"))
    restore(store)
    assert (home / "catalog/staging/scenes/a/image.tif").read_text() == "made"
    assert (home / "predictions/p/v1/staging/classes.tif").read_text() == "made"
    assert not (home / "catalog/p/staging").exists()
    shutil.rmtree(home.with_name("watched"))
    assert git("rev-parse", "refs/heads/swath-decisions/staging", at=home / "decisions.git") and decided


def test_what_lies_in_a_store_is_named_and_never_restored_over(
    home: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_folders = backup(store, 7)
    monkeypatch.setenv("SWATH_STORE", "s3://swath")
    manifest = read_manifest(backup(store, 7))
    assert any("s3://swath" in sentence for sentence in manifest.left_out)
    assert not [entry for entry in manifest.entries if entry.path.startswith("catalog")]
    home.rename(home.with_name("lost"))
    with pytest.raises(BadData, match=r"catalog, .*predictions, reports"):
        restore(of_folders)


def test_state_in_services_of_their_own_is_named(home: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_DVC_REMOTE", "s3://dvc")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    said = read_manifest(backup(store, 7)).left_out
    assert said == ("The DVC remote s3://dvc", "MLflow at http://mlflow:5000")


def test_what_lies_beside_the_copies_is_left_alone(home: Path, store: Path) -> None:
    for name in ("tmp", "tmp-photos"):
        (store / name).mkdir(parents=True)
        (store / name / "a").write_text("not ours")
    (store / ".swath-copy-killed").mkdir()
    backup(store, 7)
    assert (store / "tmp" / "a").exists() and (store / "tmp-photos" / "a").exists()
    assert not (store / ".swath-copy-killed").exists()


def test_a_registry_in_a_file_of_its_own_is_copied(
    home: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "models.db")) as connection, connection:
        connection.execute("CREATE TABLE versions (id)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/models.db")
    assert "mlflow/mlflow.db" in {entry.path for entry in read_manifest(backup(store, 7)).entries}
