"""A DVC remote on a disk that is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cli.disk import full_disk
from pipelines.errors import SwathError
from pipelines.workspace.source import resolve
from pipelines.workspace.stage import reproduce
from pipelines.workspace.workspace import open_workspace
from tests.workspace.conftest import Repository

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place]).returncode:
        pytest.skip("a disk of its own needs root; try sudo make test")
    yield place
    subprocess.run(["umount", place], check=True)


def filled(repository: Repository, disk: Path) -> Path:
    """A workspace whose stage found the disk full, and said so; without the ballast there is room."""
    (disk / "ballast").write_bytes(bytes(8_192))
    repository.write("dvc.yaml", "stages: {chip: {cmd: mkdir -p data && seq 2000 > data/chips, outs: [data/chips]}}\n")
    repository.commit("Make more than there is room for")
    folder = open_workspace("one", resolve(None))
    with pytest.raises(SwathError) as told:
        reproduce(folder, "chip", {}, {})
    assert "No space is left" in str(full_disk(told.value))
    return folder


def test_a_full_cache_keeps_nothing_half_written(
    repository: Repository, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_DVC_CACHE", str(disk / "cache"))
    folder = filled(repository, disk)
    assert not list((disk / "cache").rglob(".*.tmp"))
    (disk / "ballast").unlink()
    reproduce(folder, "chip", {}, {})


def test_a_full_remote_is_told_as_such_and_with_room_the_stage_ends_well(
    repository: Repository, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_DVC_REMOTE", str(disk / "remote"))
    folder = filled(repository, disk)
    (disk / "ballast").unlink()
    made = reproduce(folder, "chip", {}, {})
    name = made.outputs["data/chips"]
    assert (disk / "remote" / "files" / "md5" / name[:2] / name[2:]).stat().st_size == 8_893
