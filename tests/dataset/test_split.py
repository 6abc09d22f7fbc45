from __future__ import annotations

from itertools import combinations
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from pipelines.config.params import Chips, Fractions, LabelClass, Labels, Split
from pipelines.dataset.blocks import SPLITS, BlockGrid, assignments, ways
from pipelines.dataset.census import _Fill, origins, take_census, usable_labels
from pipelines.dataset.regions import Region, equidistant, find_regions
from pipelines.dataset.snapshot import Manifest
from pipelines.dataset.split import chip_diagonal, make_split
from pipelines.dataset.windows import Territories
from pipelines.errors import BadData
from pipelines.labels import open_labels
from tests.builders import write_scene
from tests.dataset.conftest import Town
from tests.dataset.town import HERE, THERE, params

FLAT = np.ones((2, 64, 64), np.uint16)


def utm_boxes(town: Town) -> np.ndarray:
    """Footprints in the projection of the scenes, made here from rows and columns."""
    at = town.plan["scene_id"].map({"here-a": HERE, "here-b": HERE, "there": THERE})
    x, y = np.array(at.tolist()).T
    west, north = x + town.plan["col"] * 10, y - town.plan["row"] * 10
    return np.asarray(shapely.box(west, north - 320, west + 320, north))


def test_chips_of_different_splits_are_the_buffer_apart(town: Town) -> None:
    boxes, split = utm_boxes(town), town.plan["split"].to_numpy()
    assert town.buffer == pytest.approx(320 * 2**0.5, rel=1e-3)
    assert set(split) == set(SPLITS)
    for a, b in combinations(SPLITS, 2):
        nearest = min(shapely.distance(one, boxes[split == b]).min() for one in boxes[split == a])
        assert nearest >= town.buffer * 0.999


def test_all_dates_of_a_place_share_its_blocks(town: Town) -> None:
    of_block = town.plan.groupby("block_id")["split"].nunique()
    assert (of_block == 1).all()
    assert set(town.plan[town.plan["scene_id"] == "here-a"]["block_id"]) & set(
        town.plan[town.plan["scene_id"] == "here-b"]["block_id"]
    )


def test_val_and_test_chips_do_not_overlap_and_train_chips_keep_their_stride(town: Town) -> None:
    for (_, split), chips in town.plan.groupby(["scene_id", "split"]):
        spacing = 24 if split == "train" else 32
        place = chips[["row", "col"]].to_numpy()
        apart = np.abs(place[:, None] - place[None]).max(axis=2)
        np.fill_diagonal(apart, 99)
        assert apart.min() >= spacing


def test_every_planned_chip_has_its_share_of_usable_labels(town: Town) -> None:
    source = open_labels(town.data / "labels", town.params.labels)
    cloud_rows = town.plan[(town.plan["scene_id"] == "here-b") & (town.plan["row"] < 40 - 0.7 * 32)]
    assert cloud_rows.empty  # the upper 40 rows of that scene hold no data
    for scene in town.manifest.scenes:
        labels = source.burn(scene)
        for _, chip in town.plan[town.plan["scene_id"] == scene.id].iterrows():
            window = labels[chip["row"] : chip["row"] + 32, chip["col"] : chip["col"] + 32]
            assert (window != 255).mean() >= 0.3


def test_blocks_count_the_usable_pixels_of_each_class_once(town: Town) -> None:
    """Sum over blocks = count over scenes."""
    import rasterio

    source = open_labels(town.data / "labels", town.params.labels)
    for index, name in enumerate(("water", "forest", "bare")):
        expected = 0
        for scene in town.manifest.scenes:
            with rasterio.open(scene.mask_path(town.catalog)) as mask:
                expected += int(((source.burn(scene) == index) & (mask.read(1) == 0)).sum())
        assert town.blocks[f"pixels_{name}"].sum() == expected


def test_the_same_seed_gives_the_same_split_and_another_seed_another(town: Town) -> None:
    def again(seed: int) -> list[str]:
        values = town.params.model_copy(update={"split": town.params.split.model_copy(update={"seed": seed})})
        blocks, plan, _ = make_split(town.manifest, town.catalog, town.data / "labels", values)
        if seed == 0:
            assert plan.equals(town.plan)
        return blocks["split"].tolist()

    assert again(0) == town.blocks["split"].tolist()
    assert any(again(seed) != town.blocks["split"].tolist() for seed in (1, 2))


def test_a_scene_in_parts_is_split_as_a_whole_one(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.dataset.windows._PART", 5)
    _, plan, _ = make_split(town.manifest, town.catalog, town.data / "labels", town.params)
    assert plan.equals(town.plan) and len(plan) > 5


def test_blocks_of_a_place_keep_their_names_when_another_place_is_added(town: Town) -> None:
    here = [s for s in town.manifest.scenes if s.id != "there"]
    alone = Manifest.model_validate(town.manifest.model_dump() | {"scenes": here})
    blocks, _, _ = make_split(alone, town.catalog, town.data / "labels", town.params)
    assert set(blocks["block_id"]) < set(town.blocks["block_id"])


def test_a_place_of_one_block_only_is_refused_with_the_parameter_to_change(town: Town) -> None:
    values = params(Path("unused"), split={"block": 50_000})
    here = [s for s in town.manifest.scenes if s.id != "there"]
    alone = Manifest.model_validate(town.manifest.model_dump() | {"scenes": here})
    with pytest.raises(BadData, match=r"split has no chip.*Lower split\.block"):
        make_split(alone, town.catalog, town.data / "labels", values)


@pytest.mark.parametrize(("gap", "regions"), [(400.0, 2), (600.0, 1)])
def test_places_nearer_than_the_buffer_are_one_region(tmp_path: Path, gap: float, regions: int) -> None:
    a = write_scene(tmp_path, FLAT, id="a", origin=(500_000, 9_000_000))
    b = write_scene(tmp_path, FLAT, id="b", origin=(500_000 + 640 + 500, 9_000_000))  # 500 m between them
    assert len(find_regions([a, b], gap)) == regions


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 14))
def test_regions_are_what_footprints_grown_by_half_the_gap_join(town: Town, seed: int, count: int) -> None:
    random, gap = np.random.default_rng(seed), 500.0
    corners, sides = random.uniform(0, 12_000, (count, 2)).round(-1), random.choice([640, 640, 3840], count)
    scene = town.manifest.scenes[0]
    scenes = [
        scene.model_copy(
            update={"id": f"s{i}", "transform": (10, 0, 5e5 + x, 0, -10, 9e6 + y), "width": w // 10, "height": w // 10}
        )
        for i, ((x, y), w) in enumerate(zip(corners.tolist(), sides.tolist(), strict=True))
    ]
    ground = shapely.box(corners[:, 0], corners[:, 1] - sides, corners[:, 0] + sides, corners[:, 1])
    apart = shapely.distance(ground[:, None], ground)
    assume(not ((apart > gap * 0.99) & (apart < gap * 1.01)).any())
    grown = shapely.get_parts(shapely.union_all(shapely.buffer(ground, gap / 2, quad_segs=64)))
    expected = {frozenset(f"s{i}" for i in np.flatnonzero(shapely.intersects(part, ground))) for part in grown}
    assert {frozenset(region.scenes) for region in find_regions(scenes, gap)} == expected


def test_blocks_reach_as_far_as_scenes_do(town: Town) -> None:
    """Though the ground of scenes is looked up by parts, and most blocks of a large region are not cut at all."""
    regions = {region.id: region for region in find_regions(town.manifest.scenes, town.buffer)}
    assert len(regions) == 2
    for id, region in regions.items():
        blocks = town.blocks[town.blocks["region"] == id].to_crs(region.projection).geometry.to_numpy()
        labelled = shapely.union_all(blocks)
        assert shapely.area(shapely.difference(labelled, region.footprint)) < 1
        assert shapely.area(labelled) == pytest.approx(shapely.area(region.footprint), rel=1e-6)


def test_pixels_count_for_the_block_that_they_lie_in(town: Town) -> None:
    regions = find_regions(town.manifest.scenes, town.buffer)
    grids = {id: BlockGrid.over(region, 1280) for region in regions for id in region.scenes}
    source = open_labels(town.data / "labels", town.params.labels)
    for scene in town.manifest.scenes:
        grid = grids[scene.id]
        near, counts, _ = take_census(scene, town.catalog, source, grid, 3, town.params.chips, {32})
        rows, columns = (axis.ravel() + 0.5 for axis in np.indices((scene.height, scene.width)))
        cells = grid.cell(grid.region.outline(scene, rows, columns))
        labels = np.concatenate([strip for _, strip in usable_labels(scene, town.catalog, source)]).ravel()
        expected = np.zeros((len(grid), 3), np.int64)
        np.add.at(expected, (cells[labels != 255], labels[labels != 255]), 1)
        found = np.zeros_like(expected)
        found[near] = counts
        assert found.sum() == expected.sum()
        assert np.abs(found - expected).sum() < 0.002 * expected.sum()  # pixels on a border


def test_a_region_may_span_the_antimeridian_and_two_zones(tmp_path: Path) -> None:
    west = write_scene(tmp_path, FLAT, id="west", crs="EPSG:32760", origin=(832_000, 8_000_000))
    from rasterio.warp import transform

    (x,), (y,) = transform("EPSG:32760", "EPSG:32701", [832_800], [8_000_000])
    east = write_scene(tmp_path, FLAT, id="east", crs="EPSG:32701", origin=(x, y))
    (region,) = find_regions([west, east], 500)
    assert region.scenes == ("east", "west")
    assert max(np.abs(region.footprint.bounds)) < 2_000


@settings(max_examples=40, deadline=None)
@given(
    splits=st.lists(st.integers(0, 2), min_size=12, max_size=12),
    known=st.sets(st.integers(0, 11), min_size=1),
    buffer=st.floats(0, 120),
    seed=st.integers(0, 2**31),
)
def test_windows_that_stay_off_foreign_blocks_are_the_buffer_apart(
    splits: list[int], known: set[int], buffer: float, seed: int
) -> None:
    """The proof in ``Territories``, tried out: any blocks, some without data, any turned windows."""
    region = Region("r", equidistant(0, 0), (), shapely.box(-200, -150, 200, 150), 1.0)
    grid = BlockGrid.over(region, 100)
    assert (grid.columns, grid.rows) == (4, 3)
    territories = Territories(grid, {cell: splits[cell] for cell in known}, buffer)
    random = np.random.default_rng(seed)
    centres = random.uniform((-190, -140), (190, 140), (150, 2))
    corners = np.array([(-10, -8), (10, -10), (9, 10), (-10, 9)])
    windows = np.asarray(shapely.polygons(centres[:, None] + corners))
    split = territories.splits_of(windows, centres)
    assert (split[~np.isin(grid.cell(centres), list(known))] == -1).all()
    for a, b in combinations(range(3), 2):
        for one in windows[split == a]:
            others = windows[split == b]
            assert not len(others) or shapely.distance(one, others).min() >= buffer - 1e-6


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    size=st.integers(1, 40),
    spacing=st.integers(1, 50),
    strip=st.integers(1, 33),
    seed=st.integers(0, 2**31),
)
def test_sums_over_windows_are_right_however_the_scene_comes_in_strips(
    height: int, size: int, spacing: int, strip: int, seed: int
) -> None:
    known = np.random.default_rng(seed).random((height, 45)) < 0.4
    rows, columns = origins(height, size, spacing), origins(45, size, spacing)
    fill = _Fill(rows, columns, size)
    for top in range(0, height, strip):
        fill.add(top, known[top : top + strip])
    expected = [[known[r : r + size, c : c + size].sum() for c in columns] for r in rows]
    assert np.array_equal(fill.counts, np.array(expected).reshape(len(rows), len(columns)))
    assert all(r + size <= height for r in rows)


def test_a_rare_class_reaches_every_split() -> None:
    counts = np.array([[1000, 0]] * 27 + [[900, 40]] * 3)
    best = assignments(counts, np.array([0.6, 0.2, 0.2]), seed=3)[0]
    assert set(best[27:]) == {0, 1, 2}
    assert np.bincount(best).tolist() == pytest.approx([18, 6, 6], abs=1)


def test_every_chip_lies_in_a_block_that_tells_of_it(town: Town) -> None:
    assert set(town.plan["block_id"]) <= set(town.blocks["block_id"])


@given(st.integers(2, 5), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_over_all_folds_each_block_is_tested_once_and_train_and_val_share_the_rest(folds: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 1000, (30, 3)) * (random.random((30, 3)) < 0.7)
    counts[:, 0] += 1
    fractions = Fractions(train=0.6, val=0.2, test=0.2)
    tested = np.zeros(30, int)
    for fold in range(folds):
        splits = ways(counts, Split(block=1, fractions=fractions, folds=folds, fold=fold, seed=seed))[0]
        assert set(splits) == {0, 1, 2}
        tested += splits == SPLITS.index("test")
        rest = counts[splits != SPLITS.index("test")].sum()
        assert 0.6 < counts[splits == SPLITS.index("train")].sum() / rest < 0.9
        assert 0.5 / folds < 1 - rest / counts.sum() < 2 / folds
    assert (tested == 1).all()


@pytest.mark.parametrize(("south", "north"), [(-5.0, 20.0), (-4.0, 12.0), (-15.0, 1.0)])
def test_the_default_buffer_covers_chips_wherever_a_scene_s_scale_is_largest(
    tmp_path: Path, south: float, north: float
) -> None:
    """In degrees a chip is longest at the equator, which is neither the middle nor a corner here."""
    small = write_scene(tmp_path, FLAT, crs="EPSG:4326", pixel=0.01, origin=(10.0, north))
    tall = small.model_copy(update={"height": round((north - south) / 0.01), "width": 1000})
    at_equator = 64 * 0.01 * np.hypot(111_319.5, 110_574.3)  # metres a degree, of longitude and of latitude, WGS 84
    assert chip_diagonal([tall], 64) == pytest.approx(at_equator, rel=6e-4)


@pytest.mark.parametrize("start", [179.93, 359.93, -180.07])
def test_a_grid_in_degrees_is_split_alike_wherever_it_counts_from(tmp_path: Path, start: float) -> None:
    """The blocks of a scene over the antimeridian, or of one that counts to 360, are those of the same elsewhere."""

    def census(west: float) -> tuple[list[int], list[list[int]]]:
        pixels = np.ones((1, 140, 140), np.uint16)
        scene = write_scene(tmp_path, pixels, id="s", crs="EPSG:4326", origin=(west, -17.0), pixel=0.001)
        frame = gpd.GeoDataFrame({"class": ["a"]}, geometry=[box(-180, -18, 180, -16)], crs="EPSG:4326")
        frame.to_parquet(tmp_path / "labels.parquet")
        classes = [LabelClass(name=name, value=i, color="#000000") for i, name in enumerate("ab")]
        source = open_labels(tmp_path / "labels.parquet", Labels(source="x", field="class", classes=tuple(classes)))
        (region,) = find_regions([scene], 500)
        chips = Chips(size=32, stride=32, min_valid=0.5)
        near, counts, _ = take_census(scene, tmp_path, source, BlockGrid.over(region, 2560), 2, chips, {32})
        return near.tolist(), counts.tolist()

    near, counts = census(177.93)
    assert len(near) > 30 and np.sum(counts) == 140 * 140
    assert census(start)[0] == near
    assert np.abs(np.subtract(census(start)[1], counts)).sum() < 0.01 * 140 * 140  # pixels on a border
