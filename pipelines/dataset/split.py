"""Blocks and the plan of chips: which ground is for training, validation and test, before any chip is cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import antimeridian
import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry import shape

from pipelines.config.params import Chips, Params
from pipelines.dataset.blocks import NOBODYS, SPLITS, BlockGrid, ways
from pipelines.dataset.census import take_census
from pipelines.dataset.kept import GRID, carried, kept_grids, kept_splits, read_kept
from pipelines.dataset.regions import DEGREES, find_regions, moved, pixel_points
from pipelines.dataset.snapshot import Manifest
from pipelines.dataset.windows import Territories, choose_windows, spacings
from pipelines.errors import BadData
from pipelines.labels import open_labels
from pipelines.progress import report
from pipelines.scenes.scene import Scene

_PLAN = ("chip_id", "scene_id", "split", "block_id", "region", "row", "col", "size")
_TRIES = 16  # assignments of blocks that are tried before giving up
_ACROSS = 9  # places along a side at which chips are measured
_FEW = 8  # blocks


def make_split(
    manifest: Manifest, catalog: Path, labels_dir: Path, params: Params
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, float]:
    """Blocks, plan and buffer in metres.

    Blocks: block_id, region, split, the grid (the region's projection, and in it left, bottom and side in metres),
    ``pixels_<class>``, geometry (the part of the square over scenes). Plan: chip_id, scene_id, split, block_id, region,
    row, col, size, geometry. Both in EPSG:4326, in a fixed order. Raises ``BadData`` if a split would be empty.
    """
    chips, names = params.chips, [c.name for c in params.labels.classes]
    buffer = chip_diagonal(manifest.scenes, chips.size) if params.split.buffer is None else params.split.buffer
    scenes = {scene.id: scene for scene in manifest.scenes}
    regions = find_regions(manifest.scenes, buffer)
    source = open_labels(labels_dir, params.labels)
    kept = None if params.split.keep is None else read_kept(params.split.keep)
    if kept is None:
        grids = [BlockGrid.over(region, params.split.block) for region in regions]
    else:
        grids = kept_grids(kept, regions, params.split.block)
    counts = [np.zeros((len(grid), len(names)), np.int64) for grid in grids]
    filled: dict[str, dict[int, NDArray[np.bool_]]] = {}
    for grid, count in zip(grids, counts, strict=True):
        for id in grid.region.scenes:
            report(len(filled), len(scenes), f"counting classes of {id}")
            wanted = set(spacings(chips))
            near, here, filled[id] = take_census(scenes[id], catalog, source, grid, len(names), chips, wanted)
            count[near] += here
    cells = [np.flatnonzero(count.any(axis=1)) for count in counts]
    table = np.concatenate([count[labelled] for count, labelled in zip(counts, cells, strict=True)])
    ground = np.concatenate([_outlines(grid, labelled) for grid, labelled in zip(grids, cells, strict=True)])
    settled = np.full(len(ground), -1, np.int64) if kept is None else kept_splits(kept, ground)
    open_ = settled != NOBODYS
    asked = {split for split in SPLITS if getattr(params.split.fractions, split) > 0}
    splits = settled.copy()
    # the best way may leave a split with slivers that no chip fits into
    for of_open in ways(table[open_], params.split, settled[open_])[:_TRIES]:
        splits[open_] = of_open
        plan = _plan(grids, cells, splits, scenes, filled, buffer, chips)
        if asked <= set(plan["split"]):
            blocks = _block_table(grids, cells, table, names, ground)[open_].reset_index(drop=True)
            blocks.insert(2, "split", [SPLITS[split] for split in of_open])
            return blocks if kept is None else carried(kept, blocks), plan, buffer
    missing = min(asked - set(plan["split"]))
    raise BadData(
        f"The {missing} split has no chip: {len(ground)} blocks of {params.split.block:g} m hold labelled pixels, "
        f"chips are {chips.size} pixels wide and {buffer:.0f} m lie between splits. "
        + (
            "Lower split.block, so that there are more blocks to give away, or label more ground."
            if len(ground) < _FEW
            else "Raise split.block, or lower chips.size or chips.min_valid, so that a chip fits into a block."
        )
    )


def _plan(
    grids: list[BlockGrid],
    cells: list[NDArray[np.int64]],
    splits: NDArray[np.int64],
    scenes: dict[str, Scene],
    filled: dict[str, dict[int, NDArray[np.bool_]]],
    buffer: float,
    chips: Chips,
) -> gpd.GeoDataFrame:
    chosen: list[dict[str, Any]] = []
    ends = np.cumsum([len(labelled) for labelled in cells])
    for grid, labelled, of in zip(grids, cells, np.split(splits, ends[:-1]), strict=True):
        if not len(labelled):
            continue
        territories = Territories(grid, dict(zip(labelled.tolist(), of.tolist(), strict=True)), buffer)
        for id in grid.region.scenes:
            windows = choose_windows(scenes[id], grid, territories, filled[id], chips)
            chosen += _rows(scenes[id], grid, windows, chips)
    plan = gpd.GeoDataFrame(chosen, columns=[*_PLAN, "geometry"], geometry="geometry", crs=DEGREES)
    order = plan["split"].map({s: i for i, s in enumerate(SPLITS)})
    plan = plan.assign(order=order).sort_values(["order", "scene_id", "row", "col"])
    return plan.drop(columns="order").reset_index(drop=True)


def chip_diagonal(scenes: Sequence[Scene], size: int) -> float:
    """Metres on the ground: the longest of chips all over the scenes, for a scale may be largest anywhere."""
    geod = Geod(ellps="WGS84")
    shares = np.linspace(0, 1, _ACROSS)
    over = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2)
    longest = 0.0
    for scene in scenes:
        places = over * (scene.height - size, scene.width - size)
        for left, right in (((0, 0), (size, size)), ((size, 0), (0, size))):
            a, b = (moved(pixel_points(scene, *(places + end).T), scene.crs, DEGREES) for end in (left, right))
            longest = max(longest, float(np.max(geod.inv(*a.T, *b.T)[2])))
    return longest


def _block_table(
    grids: list[BlockGrid],
    cells: list[NDArray[np.int64]],
    counts: NDArray[np.int64],
    names: list[str],
    ground: NDArray[Any],
) -> gpd.GeoDataFrame:
    """All blocks without their splits."""
    rows = [
        (grid.name(cell), grid.region.id, grid.region.projection, grid.left, grid.bottom, grid.side)
        for grid, labelled in zip(grids, cells, strict=True)
        for cell in labelled.tolist()
    ]
    table = gpd.GeoDataFrame(rows, columns=["block_id", *GRID], geometry=list(ground), crs=DEGREES)
    for name, pixels in zip(names, counts.T, strict=True):
        table[f"pixels_{name}"] = pixels
    return table


def _rows(
    scene: Scene, grid: BlockGrid, windows: list[tuple[int, int, int, Any]], chips: Chips
) -> list[dict[str, Any]]:
    centres = np.array([shapely.get_coordinates(shapely.centroid(w[3]))[0] for w in windows]).reshape(-1, 2)
    return [
        {
            "chip_id": f"{scene.id}_{row:05d}_{column:05d}",
            "scene_id": scene.id,
            "split": SPLITS[split],
            "block_id": grid.name(int(cell)),
            "region": grid.region.id,
            "row": row,
            "col": column,
            "size": chips.size,
            "geometry": _in_degrees(polygon, grid),
        }
        for (split, row, column, polygon), cell in zip(windows, grid.cell(centres), strict=True)
    ]


def _outlines(grid: BlockGrid, cells: NDArray[np.int64]) -> NDArray[Any]:
    """The part of each block that lies over scenes, in degrees."""
    squares, footprint = grid.polygons(cells), grid.region.footprint
    shapely.prepare(footprint)
    cut = ~shapely.contains_properly(footprint, squares)  # inside of a large region few blocks are cut
    pieces = shapely.get_parts(footprint)
    tree = shapely.STRtree(pieces)
    for i in cut.nonzero()[0]:
        near = shapely.union_all(pieces[np.sort(tree.query(squares[i]))])
        squares[i] = shapely.intersection(squares[i], near)
    return np.array([_whole(_in_degrees(square, grid)) for square in squares], object)


def _whole(outline: Any) -> Any:
    west, _, east, _ = outline.bounds
    if east - west > 180:  # over the antimeridian; left as it is it would be a band around the Earth
        return shape(antimeridian.fix_shape(outline))
    return outline


def _in_degrees(geometry: Any, grid: BlockGrid) -> Any:
    return shapely.transform(geometry, lambda points: moved(points, grid.region.projection, DEGREES))
