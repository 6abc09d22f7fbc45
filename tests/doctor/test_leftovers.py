"""Locks, workspaces and drafts of processes that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.config import settings
from pipelines.doctor.leftovers import dvc_locks, half_written, held_locks, orphans
from pipelines.errors import SwathError
from pipelines.files import alone, write_json
from tests.doctor.conftest import only

HOUR = 3600


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWATH_HOME", str(tmp_path / "home"))
    for name in ("SWATH_CATALOG", "SWATH_PREDICTIONS", "SWATH_REPORTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def age(path: Path, hours: float) -> None:
    for one in (*path.rglob("*"), path):
        os.utime(one, (time.time() - hours * HOUR,) * 2)


def test_a_lock_of_a_process_at_work_is_fine_and_one_of_an_orphan_is_not(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with alone(lock):
        assert "1 held" in only(held_locks([lock, tmp_path / "none"]), "fine").what
    assert "none" in only(held_locks([lock]), "fine").what
    script = (
        "import fcntl, os, sys, time\n"
        f"stream = open({str(lock)!r}, 'w'); fcntl.flock(stream, fcntl.LOCK_EX)\n"
        "if (child := os.fork()):\n    print(child); sys.exit()\n"
        "os.close(1); time.sleep(300)"
    )
    child = int(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    try:
        with pytest.raises(SwathError, match="busy"), alone(lock, "busy"):
            pass
        assert str(lock) in only(held_locks([lock]), "fault").do
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_dvc_lock_whose_number_belongs_to_another_process_is_found(tmp_path: Path) -> None:
    path = tmp_path / ".dvc" / "tmp" / "rwlock"

    def entry(pid: int) -> None:
        write_json(path, {"write": {}, "read": {str(tmp_path / "data"): [{"pid": pid, "cmd": "dvc repro"}]}})

    only(dvc_locks([tmp_path, tmp_path / "none"]), "fine")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    entry(gone.pid)  # which DVC forgets by itself
    only(dvc_locks([tmp_path]), "fine")
    entry(os.getppid())
    subprocess.run(only(dvc_locks([tmp_path]), "fault").do.split(), check=True)
    only(dvc_locks([tmp_path]), "fine")
    path.write_text("{")
    only(dvc_locks([tmp_path]), "fault")


def test_workspaces_older_than_any_run_are_told(home: Path) -> None:
    (home / "workspaces" / "train_model.today").mkdir(parents=True)
    only(orphans(home / "workspaces"), "fine")
    (home / "workspaces" / "train_model.lost").mkdir()
    age(home / "workspaces" / "train_model.lost", 100)
    assert "train_model.lost" in only(orphans(home / "workspaces"), "warning").what


def test_what_a_killed_writer_left_is_told_once_nobody_goes_on_with_it(home: Path) -> None:
    target = home / "predictions" / "sample" / "v1" / "scene"
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom pipelines.files import replacing\n"
        f"with replacing(Path({str(target)!r})) as draft:\n"
        "    draft.mkdir(); (draft / 'classes.tif').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    only(half_written(settings()), "fine")
    (left,) = target.parent.iterdir()
    age(left, 30)
    assert str(left) in only(half_written(settings()), "warning").what
    os.utime(left / "scene" / "classes.tif")
    only(half_written(settings()), "fine")
