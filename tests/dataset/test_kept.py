"""Ground whose split is settled, by the blocks of an earlier dataset or by hand."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from pipelines.dataset.blocks import SLIVER, SPLITS, assignments
from pipelines.dataset.certificate import certify
from pipelines.dataset.snapshot import Manifest, take_snapshot
from pipelines.dataset.split import make_split
from pipelines.errors import BadData
from pipelines.registry.gate import seen_blocks
from pipelines.scenes.scene import Scene
from tests.builders import UTM_21S, write_scene
from tests.dataset.conftest import Town
from tests.dataset.town import CLASSES, HERE, params


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
