"""Bits that rot in DVC's cache or remote: nothing is computed from them, and what to do is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.workspace.source import resolve
from pipelines.workspace.stage import StageResult, reproduce
from pipelines.workspace.workspace import open_workspace
from tests.workspace.conftest import Repository

pytestmark = pytest.mark.slow  # each test calls dvc several times, at about a second each


def run(name: str, stage: str, before: StageResult | None = None) -> tuple[StageResult, Path]:
    folder = open_workspace(name, resolve(None))
    return reproduce(folder, stage, before.lock if before else {}, {}), folder


def rot(store: Path) -> Path:
    """Change the object that holds the chips' index, as a disk does: neither its size nor its mode tells."""
    [file] = [f for f in store.glob("files/md5/*/*") if f.read_bytes().startswith(b"data: {rows")]
    text = file.read_bytes()
    mode = file.stat().st_mode
    file.chmod(0o600)
    file.write_bytes(text.replace(b"3", b"4"))
    file.chmod(mode)
    return file


def test_a_damaged_object_of_the_cache_is_had_from_the_remote(repository: Repository) -> None:
    chip, _ = run("one", "chip")
    train, folder = run("one", "train", chip)
    expected = (folder / "data" / "model").read_bytes()
    shutil.rmtree(settings().home / "workspaces")
    rot(settings().dvc_cache)
    repository.write("params.yaml", "project: demo\ndata: {rows: 3}\ntrain: {lr: 2}\n")
    repository.commit("Train harder, so that it is trained on what the cache has")
    again, folder = run("two", "train", chip)
    assert not again.reused
    assert (folder / "data" / "model").read_bytes() == expected
    assert again.outputs == train.outputs


def test_a_reused_output_that_is_damaged_is_made_anew(repository: Repository) -> None:
    chip, folder = run("one", "chip")
    expected = (folder / "data" / "chips" / "index").read_bytes()
    shutil.rmtree(folder)
    rot(settings().dvc_cache)
    again, folder = run("two", "chip", chip)
    assert again.outputs == chip.outputs
    assert (folder / "data" / "chips" / "index").read_bytes() == expected
    assert not again.reused


def test_a_damaged_object_of_the_remote_is_named_with_what_to_do_and_doing_it_helps(repository: Repository) -> None:
    chip, _ = run("one", "chip")
    shutil.rmtree(settings().home / "workspaces")
    shutil.rmtree(settings().dvc_cache)
    file = rot(Path(settings().dvc_remote))
    with pytest.raises(SwathError, match="build_dataset") as told:
        run("two", "train", chip)
    assert str(file) in str(told.value)
    file.unlink()
    run("three", "chip")
    train, _ = run("two", "train", chip)
    assert not train.reused


def test_what_the_cache_has_let_go_comes_from_the_remote_and_is_not_made_again(repository: Repository) -> None:
    chip, _ = run("one", "chip")
    train, folder = run("one", "train", chip)
    expected = (folder / "data" / "model").read_bytes()
    shutil.rmtree(settings().home / "workspaces")
    for file in (settings().dvc_cache / "files").rglob("*"):
        if file.is_file() and not file.name.endswith(".dir"):  # as `maintain` does with what is old
            file.unlink()
    chips, _ = run("two", "chip")
    again, folder = run("two", "train", chips)
    assert (chips.reused, again.reused) == (True, True)
    assert again.outputs == train.outputs and (folder / "data" / "model").read_bytes() == expected
