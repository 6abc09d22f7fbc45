"""Scenes that must not enter the catalog, and the words for it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.checks.scenes import failures
from pipelines.config.params import Scenes

SCENES = Scenes.model_validate(
    {
        "source": "x",
        "bands": ["red", "nir"],
        "radiometry": {"kind": "declared", "units": "reflectance"},
        "checks": {"max_nodata": 0.5, "value_range": [0.0, 1.0]},
    }
)


def row(id: str, **changes: Any) -> dict[str, Any]:
    statistics = {"minimum": 0.01, "p01": 0.02, "mean": 0.2, "p99": 0.5, "maximum": 1.4, "std": 0.1}
    scene = {
        "id": id,
        "datetime": "2024-07-01T00:00:00Z",
        "crs": "EPSG:32721",
        "dtype": "uint16",
        "width": 10,
        "height": 10,
    }
    scene |= {"resolution": 10.0, "nodata_share": 0.1, "cloud_share": 0.0, "radiometry": "declared"}
    scene |= {"bbox": [1.0, 2.0, 3.0, 4.0], "bands": [{"name": "red"}, {"name": "nir"}]}
    return scene | {"statistics": {"red": dict(statistics), "nir": dict(statistics)}} | changes


def test_good_scenes_pass() -> None:
    assert failures([row("a"), row("b")], SCENES) == {}
    assert failures([], SCENES) == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nodata_share": 0.6}, "max_nodata"),
        ({"bands": [{"name": "nir"}, {"name": "red"}]}, "the bands are red nir"),
        ({"bbox": [1.0, 2.0, 400.0, 4.0]}, "east lies between"),
        ({"resolution": 0.0}, "ground resolution"),
        ({"crs": None}, "coordinate reference system"),
    ],
)
def test_bad_metadata_is_named(change: dict[str, Any], reason: str) -> None:
    found = failures([row("good"), row("bad", **change)], SCENES)
    assert list(found) == ["bad"] and reason in found["bad"]


@pytest.mark.parametrize(
    ("statistic", "value", "reason"),
    [("p99", 1.2, "value_range"), ("p01", -0.1, "value_range"), ("std", 0.0, "dead band"), ("p01", None, "statistics")],
)
def test_bad_statistics_name_the_band(statistic: str, value: float | None, reason: str) -> None:
    bad = row("bad")
    bad["statistics"]["nir"][statistic] = value
    found = failures([row("good"), bad], SCENES)
    assert list(found) == ["bad"] and f"nir_{statistic}" in found["bad"] and reason in found["bad"]
