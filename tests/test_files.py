from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.files import named, replacing, write_json


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


def test_wildcards_name_several_folders_and_their_common_base(tmp_path: Path) -> None:
    for name in ("images", "unlabelled", "masks"):
        (tmp_path / name).mkdir()
    assert named(tmp_path / "[iu]*") == (tmp_path, [tmp_path / "images", tmp_path / "unlabelled"])
    assert named(tmp_path / "masks") == (tmp_path / "masks", [tmp_path / "masks"])
    assert named(tmp_path / "x*") == (tmp_path, [])
