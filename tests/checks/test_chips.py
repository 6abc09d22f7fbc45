from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from pipelines.checks.chips import check_chips
from pipelines.files import read_json

CLEAN = {"clean": True, "overlap_m2": 0.0, "smallest_distance_m": 905.0, "buffer_m": 900.0}


def chips() -> pd.DataFrame:
    """Six sound chips, two in each split."""
    return pd.DataFrame(
        {
            "chip_id": [f"scene_{i}" for i in range(6)],
            "split": ["train", "train", "val", "val", "test", "test"],
            "shard": 0,
            "position": range(6),
            "valid": 0.8,
            "content": [f"hash{i}" for i in range(5)] + [None],
            "pixels_water": 10,
            "pixels_forest": [0, 10] * 3,
            "mean_B02": 0.1,
        }
    )


def check(index: pd.DataFrame, folder: Path, certificate: dict[str, object] = CLEAN) -> list[str]:
    splits = ["train", "val", "test"]
    return check_chips(index, certificate, splits=splits, min_valid=0.3, value_range=(-0.2, 2.0), folder=folder)


def test_sound_chips_pass_and_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert check(chips(), tmp_path / name) == []
    assert read_json(tmp_path / "a" / "result.json")["success"] is True

    def bytes_of(folder: Path) -> dict[str, str]:
        files = (f for f in folder.rglob("*") if f.is_file())
        return {str(f.relative_to(folder)): sha256(f.read_bytes()).hexdigest() for f in files}

    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert (tmp_path / "a" / "docs" / "chips" / "index.html").exists()


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("chip_id", "scene_1", "a name of its own"),
        ("position", 1, "a place of its own"),
        ("split", "holdout", "train, val or test"),
        ("valid", 0.1, "usable, labelled share"),
        ("pixels_water", -4, "not negative"),
        ("mean_B02", 310.0, "between -0.2 and 2"),
        ("mean_B02", None, "usable pixels"),
        ("content", "hash4", "in one split only"),
    ],
)
def test_one_bad_chip_is_named(tmp_path: Path, column: str, value: object, sentence: str) -> None:
    index = chips()
    index.loc[0, column] = value
    findings = check(index, tmp_path)
    assert any(sentence in f for f in findings), findings
    if column != "chip_id":
        assert any("scene_0" in f for f in findings)
    assert read_json(tmp_path / "result.json")["findings"] == findings


def test_chips_of_one_class_alone_are_refused(tmp_path: Path) -> None:
    alone = chips()
    alone.loc[alone["split"] == "train", "pixels_forest"] = 0  # as where the labels write a class by another value
    assert any("two classes or more" in f for f in check(alone, tmp_path))


def test_a_split_without_chips_and_a_leak_are_found(tmp_path: Path) -> None:
    without = chips().query("split != 'val'")
    assert any("train, val, test must be there" in f for f in check(without, tmp_path))
    leak = check(chips(), tmp_path, CLEAN | {"clean": False, "overlap_m2": 12.5})
    assert any("leak" in f for f in leak) and any("12.5" in f for f in leak)
