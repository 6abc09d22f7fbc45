from __future__ import annotations

from itertools import combinations
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.config.params import Fractions, Split
from pipelines.dataset.blocks import SLIVER, SPLITS, BlockGrid, assignments, ways
from pipelines.dataset.census import _Fill, origins, take_census, usable_labels
from pipelines.dataset.certificate import certify
from pipelines.dataset.regions import Region, equidistant, find_regions
from pipelines.dataset.snapshot import Manifest, take_snapshot
from pipelines.dataset.split import make_split
from pipelines.dataset.windows import Territories
from pipelines.errors import BadData
from pipelines.labels import open_labels
from pipelines.registry.gate import seen_blocks
from pipelines.scenes.scene import Scene
from tests.builders import UTM_21S, write_scene
from tests.dataset.conftest import Town
from tests.dataset.town import CLASSES, HERE, THERE, params

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


def taken(folder: Path, scenes: list[Scene]) -> tuple[Manifest, Path]:
    """A snapshot of ``scenes``, and their catalog. Labels reach beyond all of them."""
    x, y = np.meshgrid(HERE[0] - 6_400 + 320 * np.arange(64), HERE[1] - 12_800 + 320 * np.arange(64))
    classes = np.random.default_rng(4).choice(CLASSES, x.size)
    squares = shapely.box(x, y, x + 320, y + 320).ravel()
    gpd.GeoDataFrame({"class": classes}, geometry=squares, crs=UTM_21S).to_file(folder / "parcels.gpkg")
    values = params(folder / "parcels.gpkg")
    return take_snapshot(scenes, folder / "catalog", values, folder / "data"), folder / "catalog"


def divided(folder: Path, scenes: list[Scene], **split: object) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, float]:
    manifest, catalog = taken(folder, scenes)
    return make_split(manifest, catalog, folder / "data" / "labels", params(folder / "parcels.gpkg", split=split))


def written(path: Path, table: gpd.GeoDataFrame) -> Path:
    table.to_parquet(path)
    return path


def test_kept_ground_keeps_its_split_and_new_ground_makes_up_for_it() -> None:
    random = np.random.default_rng(5)
    counts = random.integers(100, 1000, (40, 3))
    kept = np.array([SPLITS.index("train")] * 20 + [-1] * 20)
    shares = np.array([0.6, 0.2, 0.2])
    assert (assignments(counts, shares, seed=0)[0][:20] != kept[:20]).any()
    best = assignments(counts, shares, seed=0, kept=kept)[0]
    assert (best[:20] == kept[:20]).all()
    for split, share in enumerate(shares):
        assert counts[best == split].sum() / counts.sum() == pytest.approx(share, abs=0.05)


def test_a_dataset_divides_kept_ground_as_the_earlier_one_did(town: Town, tmp_path: Path) -> None:
    """The earlier one's blocks with train and test exchanged: no seed would give those by itself."""
    other = {"train": "test", "test": "train", "val": "val"}
    earlier = town.blocks.assign(split=town.blocks["split"].map(other))
    earlier[earlier["region"] == earlier["region"].iloc[0]].to_parquet(tmp_path / "blocks.parquet")
    values = params(tmp_path, split={"keep": str(tmp_path / "blocks.parquet")})
    blocks, plan, _ = make_split(town.manifest, town.catalog, town.data / "labels", values)
    wanted = earlier.set_index("block_id")["split"]
    of = blocks.set_index("block_id")
    first = of.index[of["region"] == earlier["region"].iloc[0]]
    assert 0 < len(first) < len(of)
    assert (of.loc[first, "split"] == wanted[first]).all()
    assert (plan["split"] == plan["block_id"].map(of["split"])).all()


SHIFTS = [(300, 300), (-300, 0), (0, -2900), (2560, 1280)]  # metres, east and north; a block is 1,280 wide


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_region_that_grows_keeps_its_test_ground(tmp_path: Path, shift: tuple[int, int]) -> None:
    scenes = [write_scene(tmp_path / "catalog", np.ones((2, 512, 512), np.uint16), id="before", origin=HERE)]
    earlier, _, _ = divided(tmp_path, scenes)
    earlier.to_parquet(tmp_path / "kept.parquet")
    origin = (HERE[0] + shift[0], HERE[1] + shift[1])
    scenes.append(write_scene(tmp_path / "catalog", 2 * np.ones((2, 512, 512), np.uint16), id="after", origin=origin))
    blocks, plan, buffer = divided(tmp_path, scenes, keep=str(tmp_path / "kept.parquet"))

    assert set(earlier["block_id"]) <= set(blocks["block_id"])
    assert len(set(blocks["block_id"])) == len(blocks)
    of = blocks.set_index("block_id")["split"]
    assert (of[earlier["block_id"]] == earlier["split"].to_numpy()).all()
    old, new = (
        {s: frame[frame["split"] == s].to_crs(UTM_21S).union_all() for s in SPLITS} for frame in (earlier, blocks)
    )
    crossed = {(a, b): old[a].intersection(new[b]).area for a in SPLITS for b in SPLITS if a != b}
    assert max(crossed.values()) < 100  # square metres; lines that are straight in degrees are bent in metres
    now, chips = written(tmp_path / "now.parquet", blocks), written(tmp_path / "plan.parquet", plan)
    assert seen_blocks(tmp_path / "kept.parquet", now, chips) == set()
    chips = plan.to_crs(UTM_21S)
    learned = chips[chips["split"] != "test"].union_all()
    assert learned.intersection(old["test"].buffer(-0.1)).area == 0
    assert certify(plan, blocks, buffer, *taken(tmp_path, scenes)).clean


def test_a_region_between_two_earlier_ones_takes_the_grid_of_one_and_gives_nobody_what_both_claim(
    tmp_path: Path,
) -> None:
    catalog, ones = tmp_path / "catalog", np.ones((2, 512, 512), np.uint16)
    east = (HERE[0] + 7_900, HERE[1])
    scenes = [write_scene(catalog, ones, id="a", origin=HERE), write_scene(catalog, 3 * ones, id="b", origin=east)]
    earlier, _, _ = divided(tmp_path, scenes)
    assert earlier["region"].nunique() == 2
    earlier.to_parquet(tmp_path / "kept.parquet")
    scenes.append(write_scene(catalog, 2 * ones, id="between", origin=(HERE[0] + 4_000, HERE[1])))
    blocks, plan, buffer = divided(tmp_path, scenes, keep=str(tmp_path / "kept.parquet"))
    blocks = blocks[blocks.filter(like="pixels_").any(axis=1)]
    assert blocks["region"].nunique() == 1
    assert set(blocks["region"]) < set(earlier["region"])
    squares = blocks.to_crs(UTM_21S)
    for split in SPLITS:
        theirs = earlier[earlier["split"] == split].to_crs(UTM_21S).union_all()
        assert squares[squares["split"] != split].intersection(theirs).area.max() < SLIVER * 1280**2
        chips = plan[plan["split"] == split].to_crs(UTM_21S).union_all()
        others = earlier[earlier["split"] != split].to_crs(UTM_21S).union_all()
        assert chips.intersection(others).area == 0
    assert certify(plan, blocks, buffer, *taken(tmp_path, scenes)).clean


def test_a_block_that_hand_drawn_ground_of_two_splits_meets_is_no_split_s(town: Town, tmp_path: Path) -> None:
    """Halves of the place, drawn along a line inside of a column of blocks."""
    west, north = HERE
    middle = west + 2_000
    halves = shapely.box([west, middle], north - 5_120, [middle, west + 5_120], north)
    drawn = gpd.GeoDataFrame({"split": ["train", "test"]}, geometry=halves, crs=UTM_21S)
    drawn.to_file(tmp_path / "drawn.gpkg")
    values = params(tmp_path, split={"keep": str(tmp_path / "drawn.gpkg")})
    blocks, plan, _ = make_split(town.manifest, town.catalog, town.data / "labels", values)
    here = blocks[blocks["block_id"].isin(set(town.blocks["block_id"]))].to_crs(UTM_21S)
    here = here[here.intersects(shapely.union_all(halves))]
    assert len(here) == 20  # of five by five
    assert (here["split"] == np.where(here.centroid.x < middle, "train", "test")).all()
    assert not plan["block_id"].isin(set(town.blocks["block_id"]) - set(blocks["block_id"])).any()


def test_kept_ground_that_has_no_labels_for_a_while_stays_what_it_was(tmp_path: Path) -> None:
    """Three datasets, each of which keeps the blocks of the one before."""
    catalog, ones = tmp_path / "catalog", np.ones((2, 512, 512), np.uint16)
    west = write_scene(catalog, ones, id="west", origin=HERE)
    east = write_scene(catalog, 2 * ones, id="east", origin=(HERE[0] + 5_120, HERE[1]))
    keep = str(tmp_path / "kept.parquet")
    first, _, _ = divided(tmp_path, [west, east])
    first.to_parquet(keep)
    second, _, _ = divided(tmp_path, [west], keep=keep)  # the other one is in quarantine
    labelled = second.filter(like="pixels_").any(axis=1)
    assert set(first["block_id"]) == set(second["block_id"]) and not labelled.all()
    second.to_parquet(keep)
    third, _, _ = divided(tmp_path, [west, east], keep=keep)
    wanted = first.set_index("block_id")["split"]
    assert third.set_index("block_id")["split"].loc[wanted.index].equals(wanted)


def test_ground_keeps_its_split_in_squares_of_another_side(tmp_path: Path) -> None:
    catalog, ones = tmp_path / "catalog", np.ones((2, 512, 512), np.uint16)
    scenes = [write_scene(catalog, ones, id="here", origin=HERE)]
    earlier, _, _ = divided(tmp_path, scenes)
    earlier.to_parquet(tmp_path / "kept.parquet")
    blocks, _, _ = divided(tmp_path, scenes, keep=str(tmp_path / "kept.parquet"), block=640)
    assert set(blocks["side"]) == {640}
    squares = blocks.to_crs(UTM_21S)
    for split in SPLITS:
        theirs = earlier[earlier["split"] == split].to_crs(UTM_21S).union_all()
        assert squares[squares["split"] != split].intersection(theirs).area.max() < SLIVER * 640**2


def test_every_chip_lies_in_a_block_that_tells_of_it(town: Town) -> None:
    assert set(town.plan["block_id"]) <= set(town.blocks["block_id"])


@pytest.mark.parametrize("said", ["tset", None])
def test_kept_ground_for_an_unknown_split_is_refused_by_name(town: Town, tmp_path: Path, said: str | None) -> None:
    town.blocks.assign(split=said).to_file(tmp_path / "blocks.gpkg")
    values = params(tmp_path, split={"keep": str(tmp_path / "blocks.gpkg")})
    with pytest.raises(BadData, match=f"{said}.*train, val, test"):
        make_split(town.manifest, town.catalog, town.data / "labels", values)


def test_kept_ground_without_a_geometry_is_refused_by_its_file(town: Town, tmp_path: Path) -> None:
    town.blocks.set_geometry([None, *town.blocks.geometry[1:]], crs=town.blocks.crs).to_parquet(tmp_path / "b.parquet")
    values = params(tmp_path, split={"keep": str(tmp_path / "b.parquet")})
    with pytest.raises(BadData, match=r"b\.parquet has 1 shape"):
        make_split(town.manifest, town.catalog, town.data / "labels", values)


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
