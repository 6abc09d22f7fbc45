"""Packages, variables, secrets, folders and room, each well and each at fault."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from pipelines.doctor.folders import memory, need_of_a_run, room, writable
from pipelines.doctor.packages import packages, python
from pipelines.doctor.secrets import private, secret_files
from pipelines.doctor.variables import KNOWN, unknown
from pipelines.files import write_secret
from tests.builders import write_scene
from tests.doctor.conftest import only, somebody_else

ROOT = Path(__file__).parents[2]


def test_python_is_held_against_what_the_package_asks_for() -> None:
    only(python(), "fine")
    assert "3.13.1 is not" in only(python(found="3.13.1"), "fault").what


def test_packages_are_held_against_the_lock_where_its_markers_apply(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    have = version("numpy")
    lock.write_text(f"numpy=={have}\n    # via swath\nnot-a-package==1 ; sys_platform == 'elsewhere'\n")
    only(packages(lock), "fine")
    lock.write_text("numpy==1.0\n")
    assert f"numpy {have} instead of 1.0" in only(packages(lock), "fault").what
    lock.write_text("not-a-package==1\n")
    assert "not-a-package" in only(packages(lock), "warning").what
    only(packages(tmp_path / "none"), "skipped")


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant() -> None:
    only(unknown({"SWATH_HOME": "x", "HOME": "y"}), "fine")
    found = only(unknown({"SWATH_DVC_REMOT": "x"}), "warning")
    assert "SWATH_DVC_REMOT " in found.what and "SWATH_DVC_REMOTE" in found.do


def test_the_known_variables_are_those_that_the_sources_read() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    read = {
        name
        for path in listed
        if path.startswith(("pipelines/", "plugins/", "dags/", "docker", "deploy/", "examples/", "Makefile"))
        if path != "pipelines/doctor/variables.py" and not path.endswith(".png")
        for name in re.findall(r"\bSWATH_[A-Z0-9_]+\b", (ROOT / path).read_text(encoding="utf-8"))
    }
    assert read == KNOWN


def test_a_secret_that_others_may_read_is_a_fault(tmp_path: Path) -> None:
    write_secret(tmp_path / "home" / "services.json", {"password": "x"})
    (tmp_path / ".env").write_text("S3_SECRET_KEY=x\n")
    (tmp_path / ".env").chmod(0o600)
    files = secret_files(tmp_path / "home", tmp_path)
    assert len(files) == 2
    only(private(files), "fine")
    (tmp_path / ".env").chmod(0o640)
    found = only(private(files), "fault")
    subprocess.run(found.do.split(), check=True)
    only(private(files), "fine")


def test_a_folder_that_may_not_be_written_is_a_fault(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    for folder in (tmp_path, *(above for above in tmp_path.parents if "pytest" in above.as_posix())):
        folder.chmod(0o755)  # pytest's own, which nobody else may look into
    only(writable({"SWATH_HOME": tmp_path / "to" / "be" / "made"}), "fine")
    with somebody_else():
        found = only(writable({"SWATH_HOME": shut / "to" / "be" / "made"}), "fault")
    assert str(shut) in found.what and "SWATH_HOME" in found.do


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine lets us mount nothing")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_fault(small: Path) -> None:
    said = [found.what for found in room([small, small / "below"], 10**5)]
    assert not any("are free" in what for what in said)
    (small / "filler").write_bytes(bytes(950_000))
    assert any(f"are free at {small}" in found.what for found in room([small], 10**5) if found.word == "fault")


def test_room_is_held_against_what_a_run_takes(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    only(room([tmp_path], free // 2), "fine")
    assert "are free" in only(room([tmp_path], 2 * free), "fault").what


def test_what_a_run_takes_grows_with_its_scenes(tmp_path: Path) -> None:
    import numpy as np

    empty = need_of_a_run(tmp_path)
    scene = write_scene(tmp_path, np.random.default_rng(0).integers(1, 9000, (3, 64, 64), dtype=np.uint16))
    assert need_of_a_run(tmp_path) - empty >= scene.image_path(tmp_path).stat().st_size > 0


def test_memory_is_held_against_what_a_map_takes() -> None:
    only(memory(10**6), "fine")
    only(memory(2 * psutil.virtual_memory().total), "fault")
