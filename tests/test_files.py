from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.files import named, read_json, replacing, write_json

ROOT = Path(__file__).parents[1]


def test_a_failed_write_leaves_the_former_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "value.json"
    write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), replacing(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert target.read_text() == '{\n  "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_a_folder_replaces_a_folder_that_has_other_files(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replacing(tmp_path / "folder") as draft:
            draft.mkdir()
            (draft / name).touch()
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_with_the_next_write_and_a_living_one_is_let_be(
    tmp_path: Path, kind: str
) -> None:
    write = "draft.mkdir(); (draft / 'half').touch()" if kind == "folder" else "draft.write_text('half')"
    code = f"""
import os, signal, sys
from pathlib import Path
from pipelines.files import replacing
with replacing(Path(sys.argv[1])) as draft:
    {write}
    os.kill(os.getpid(), signal.SIGKILL)
"""
    target = tmp_path / "target"
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", code, str(target)], cwd=ROOT)
        assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] != [] and not target.exists()
    with replacing(target) as first, replacing(target) as second:
        assert not first.exists()
        second.write_text("second")
        first.write_text("first")
    assert target.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


def test_writers_of_one_target_never_meet(tmp_path: Path) -> None:
    target = tmp_path / "value.json"

    def write(number: int) -> None:
        write_json(target, [number] * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(400)))
    assert len(set(read_json(target))) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_wildcards_name_several_folders_and_their_common_base(tmp_path: Path) -> None:
    for name in ("images", "unlabelled", "masks"):
        (tmp_path / name).mkdir()
    assert named(tmp_path / "[iu]*") == (tmp_path, [tmp_path / "images", tmp_path / "unlabelled"])
    assert named(tmp_path / "masks") == (tmp_path / "masks", [tmp_path / "masks"])
    assert named(tmp_path / "x*") == (tmp_path, [])
