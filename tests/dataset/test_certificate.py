from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from shapely.affinity import translate
from shapely.geometry import box

from pipelines.dataset.certificate import Certificate, _between, _corners, _diagonal, certify, require_clean
from pipelines.dataset.certificate_map import draw_certificate
from pipelines.errors import BadData
from pipelines.files import write_json
from tests.builders import write_scene
from tests.dataset.conftest import Town
from tests.dataset.town import HERE


def certificate(town: Town, plan: gpd.GeoDataFrame) -> Certificate:
    return certify(plan, town.blocks, town.buffer, town.manifest, town.catalog)


def one(town: Town, split: str, scene: str = "here-a") -> int:
    return int(town.plan[(town.plan["split"] == split) & (town.plan["scene_id"] == scene)].index[0])


def test_a_split_that_was_made_well_is_clean(town: Town) -> None:
    found = certificate(town, town.plan)
    assert found.clean and found.overlap_m2 == 0
    assert found.smallest_distance_m is not None and found.smallest_distance_m >= town.buffer * 0.999
    assert sum(found.chips.values()) == len(town.plan)
    assert all(sum(shares.values()) == pytest.approx(1, abs=1e-4) for shares in found.class_balance.values())


def test_the_distance_is_the_one_on_the_map(town: Town) -> None:
    """Two chips alone, 320 pixels apart from edge to edge, at UTM's scale of 0.9996."""
    rows = [one(town, "train"), one(town, "val")]
    plan = town.plan.loc[rows].reset_index(drop=True)
    first = plan.geometry[0]
    plan.loc[1, "geometry"] = translate(first, xoff=0, yoff=0.05)
    found = certificate(town, plan)
    from pyproj import Geod

    south, north = first.bounds[3], first.bounds[1] + 0.05
    expected = Geod(ellps="WGS84").inv(first.bounds[0], south, first.bounds[0], north)[2]
    assert found.smallest_distance_m == pytest.approx(expected, rel=2e-3)


def test_tiles_that_overlap_across_splits_are_found(town: Town) -> None:
    plan = town.plan.copy()
    shifted = plan.loc[[one(town, "train")]].assign(chip_id="leak", split="test")
    shifted["geometry"] = shifted.geometry.translate(yoff=160 / 110_600)  # half of a chip
    found = certificate(town, pd.concat([plan, shifted], ignore_index=True))
    assert not found.clean
    assert found.overlap_m2 >= 0.4 * 320 * 320
    assert "square metres" in found.findings[0]


def test_another_date_of_a_place_in_another_split_is_found(town: Town) -> None:
    plan = town.plan.copy()
    other_date = plan.loc[[one(town, "train", "here-a")]].assign(chip_id="leak", scene_id="here-b", split="val")
    found = certificate(town, pd.concat([plan, other_date], ignore_index=True))
    assert not found.clean
    assert found.overlap_m2 >= 0.99 * 320 * 320 * 0.998


def test_a_window_over_the_edge_of_its_block_is_found(town: Town) -> None:
    """Put a train chip onto the buffer next to a test chip: no overlap, too near."""
    plan = town.plan.copy()
    near = plan.loc[[one(town, "test")]].assign(chip_id="leak", split="train")
    near["geometry"] = near.geometry.translate(yoff=500 / 110_600)
    found = certificate(town, pd.concat([plan, near], ignore_index=True))
    assert not found.clean
    assert found.smallest_distance_m is not None and found.smallest_distance_m == pytest.approx(180, abs=5)
    assert "as near as" in found.findings[0]


def test_a_buffer_below_the_diagonal_is_not_clean(town: Town) -> None:
    found = certify(town.plan, town.blocks, 100.0, town.manifest, town.catalog)
    assert not found.clean
    assert "diagonal" in found.findings[0]


def test_a_copy_under_another_name_in_another_place_is_found(town: Town, tmp_path: Path) -> None:
    original = town.manifest.scene("here-a")
    with rasterio.open(original.image_path(town.catalog)) as image:
        pixels = image.read()
    copy = write_scene(town.catalog, pixels, id="copy", origin=(HERE[0] + 90_000, HERE[1]))
    manifest = town.manifest.model_copy(update={"scenes": (*town.manifest.scenes, copy)})
    chips = town.plan[town.plan["scene_id"] == "here-a"]
    elsewhere = chips.assign(scene_id="copy", geometry=chips.geometry.translate(xoff=0.8))
    same = certify(pd.concat([town.plan, elsewhere]), town.blocks, town.buffer, manifest, town.catalog)
    assert same.clean and any("same pixels" in f for f in same.findings)  # in the same split: told, no leak
    turned = elsewhere.assign(split=elsewhere["split"].map({"train": "test", "test": "train", "val": "val"}))
    leak = certify(pd.concat([town.plan, turned]), town.blocks, town.buffer, manifest, town.catalog)
    assert not leak.clean
    assert "copy and here-a" in leak.findings[0] or "here-a and copy" in leak.findings[0]


def boxes(places: list[tuple[str, float, float, float, float]]) -> gpd.GeoDataFrame:
    """Footprints on the equator as (split, west, south, width, height) in metres."""
    each = 1 / 111_319.49
    shapes = [box(w * each, s * each, (w + a) * each, (s + b) * each) for _, w, s, a, b in places]
    splits = [split for split, *_ in places]
    return gpd.GeoDataFrame({"split": splits, "scene_id": "s"}, geometry=shapes, crs="EPSG:4326")


def test_the_pair_that_is_nearest_by_its_edges_counts_and_not_the_one_that_is_by_its_centres() -> None:
    plan = boxes(
        [
            ("train", 0, 0, 100, 100),
            ("test", 600, 0, 100, 100),  # 500 m away, 600 from centre to centre
            ("train", 0, 50_000, 1000, 100),
            ("test", 1300, 50_000, 1000, 100),  # 300 m away, 1,300 from centre to centre
        ]
    )
    overlap, distance = _between(plan, *_corners(plan))
    assert overlap == 0 and distance == pytest.approx(300, rel=0.01)


def test_ground_that_several_pairs_share_adds_up() -> None:
    plan = boxes(
        [("train", 0, 0, 100, 100), ("val", 50, 0, 100, 100), ("train", 5000, 0, 400, 100), ("val", 5300, 0, 400, 100)]
    )
    overlap, distance = _between(plan, *_corners(plan))
    assert overlap == pytest.approx(50 * 100 + 100 * 100, rel=0.01) and distance == 0


def test_the_diagonal_is_that_of_the_largest_chip() -> None:
    plan = boxes([("train", 0, 0, 300, 400), ("val", 9000, 0, 30, 40)])
    assert _diagonal(_corners(plan)[0]) == pytest.approx(500, rel=0.01)


def test_nothing_goes_on_without_a_clean_certificate(town: Town, tmp_path: Path) -> None:
    clean = certificate(town, town.plan)
    write_json(tmp_path / "certificate.json", clean.model_dump(mode="json"))
    assert require_clean(tmp_path / "certificate.json") == clean
    spoiled = clean.model_copy(update={"clean": False, "findings": ("Chips share ground.",)})
    write_json(tmp_path / "certificate.json", spoiled.model_dump(mode="json"))
    with pytest.raises(BadData, match="Chips share ground"):
        require_clean(tmp_path / "certificate.json")


def test_the_map_shows_blocks_in_the_colours_of_their_splits(town: Town, tmp_path: Path) -> None:
    from matplotlib.image import imread

    for name in ("a.png", "b.png"):
        draw_certificate(tmp_path / name, certificate(town, town.plan), town.blocks, town.plan)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = (imread(tmp_path / "a.png")[..., :3] * 255).round().astype(int)
    for color in ((0x44, 0x77, 0xAA), (0xDD, 0xAA, 0x33), (0xBB, 0x55, 0x66)):
        assert (np.abs(picture - color).max(axis=2) < 3).sum() > 100
