"""Ground whose split is settled: new labels divide what is new, and a frozen test stays frozen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from pipelines.dataset.blocks import NOBODYS, SLIVER, SPLITS, BlockGrid
from pipelines.dataset.regions import DEGREES, Region, moved
from pipelines.errors import BadData
from pipelines.labels.vector import read_shapes

log = logging.getLogger(__name__)

FIELD = "split"
GRID = ["region", "projection", "left", "bottom", "side"]  # columns of a dataset's blocks that say where squares lie


def read_kept(file: Path) -> gpd.GeoDataFrame:
    """The shapes of ``file`` in degrees, each with its split.

    Raises ``BadData`` where the file cannot be read or says of a shape nothing that is a split.
    """
    shapes = read_shapes(file)
    if shapes.crs is None:
        raise BadData(f"split.keep {file} states no coordinate reference system; assign one.")
    said = set(shapes[FIELD]) if FIELD in shapes else {None}
    if unknown := said - set(SPLITS):
        raise BadData(
            f"split.keep {file} has {sorted(map(str, unknown))} in its attribute {FIELD!r} where "
            f"{', '.join(SPLITS)} are known; correct these shapes."
        )
    if nowhere := int((shapes.geometry.isna() | shapes.geometry.is_empty).sum()):
        raise BadData(f"split.keep {file} has {nowhere} shape(s) without geometry; remove or draw them.")
    shapes = shapes.to_crs(DEGREES)
    return shapes.set_geometry(shapely.make_valid(shapes.geometry.to_numpy()), crs=DEGREES)


def kept_grids(kept: gpd.GeoDataFrame, regions: Sequence[Region], side: float) -> list[BlockGrid]:
    """A grid for each of ``regions``, sorted by the name of its region.

    It is that of the earlier dataset whose blocks ``kept`` holds, with more cells where the region has grown, or a part
    of them where ``side`` divides theirs; and a new one where none of them lies here.

    Squares that moved with every new scene would turn test ground into training ground. Regions that lie on one earlier
    grid become one, since a square has one name.
    """
    if not {*GRID} <= {*kept.columns}:
        return [BlockGrid.over(region, side) for region in regions]
    new, settled = [], dict[str, Region]()
    labelled = kept.filter(like="pixels_").sum(axis=1) + 1  # a block that has lost its labels has a say too
    origins = kept.drop_duplicates("region").set_index("region")
    inner = shapely.get_coordinates(shapely.point_on_surface(kept.geometry.to_numpy()))
    for region in regions:
        points = shapely.points(np.nan_to_num(moved(inner, DEGREES, region.projection), posinf=1e9))
        near = shapely.dwithin(region.footprint, points, kept["side"].to_numpy() * 2**0.5)
        if not near.any():
            new.append(BlockGrid.over(region, side))
            continue
        id = labelled[near].groupby(kept["region"][near]).sum().idxmax()
        here = region.moved_to(id, origins.at[id, "projection"])
        settled[id] = _joined(settled[id], here) if id in settled else here
    old = [
        BlockGrid.aligned(region, side, origins.at[id, "left"], origins.at[id, "bottom"])
        for id, region in settled.items()
    ]
    return sorted(new + old, key=lambda grid: grid.region.id)


def kept_splits(kept: gpd.GeoDataFrame, ground: NDArray[Any]) -> NDArray[np.int64]:
    """For each polygon of ``ground`` ``(n,)``, in degrees, the split of the shapes of ``kept`` that lie on it.

    Indices into ``SPLITS``, -1 where none does and ``NOBODYS`` where shapes of several splits do, as where they were
    drawn by hand across the squares. A border's ``SLIVER`` does not count.
    """
    shapes = kept.geometry.to_numpy()
    at, found = shapely.STRtree(shapes).query(ground, predicate="intersects")
    shared = shapely.area(shapely.intersection(ground[at], shapes[found]))
    real = shared > SLIVER * np.minimum(shapely.area(ground[at]), shapely.area(shapes[found]))
    met = np.zeros((len(ground), len(SPLITS)), bool)
    met[at[real], kept[FIELD].map(SPLITS.index).to_numpy()[found[real]]] = True
    settled = np.where(met.any(axis=1), met.argmax(axis=1), -1)
    settled[met.sum(axis=1) > 1] = NOBODYS
    if several := int((settled == NOBODYS).sum()):
        log.warning("%d blocks lie on ground kept for several splits, and are left out of all of them.", several)
    return settled


def carried(kept: gpd.GeoDataFrame, blocks: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """``blocks``, and without pixels those of ``kept`` that are not among them: ground that has no labels this time.

    Whoever keeps these blocks next then keeps all there ever were, and a test is frozen for good; not so where squares
    have another side now.
    """
    if not {"block_id", *GRID} <= {*kept.columns}:
        return blocks
    gone = kept[~kept["block_id"].isin(blocks["block_id"]) & kept["side"].isin(blocks["side"])]
    gone = gone.reindex(columns=blocks.columns)
    gone[[name for name in blocks.columns if name.startswith("pixels_")]] = 0
    return pd.concat([blocks, gone], ignore_index=True).astype(blocks.dtypes.to_dict())


def _joined(one: Region, other: Region) -> Region:
    scenes, stretch = tuple(sorted({*one.scenes, *other.scenes})), max(one.stretch, other.stretch)
    return replace(one, scenes=scenes, stretch=stretch, footprint=one.footprint | other.footprint)
