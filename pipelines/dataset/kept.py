"""Ground whose split is settled: new labels divide what is new, and a frozen test stays frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.dataset.blocks import SPLITS
from pipelines.dataset.regions import DEGREES
from pipelines.errors import BadData
from pipelines.labels.vector import read_shapes

FIELD = "split"


def kept_splits(file: Path, ground: NDArray[Any]) -> NDArray[np.int64]:
    """For each polygon of ``ground`` ``(n,)``, in degrees, the split of the shape of ``file`` that it lies in.

    Indices into ``SPLITS``, -1 where a point inside of the polygon lies in no shape. Raises ``BadData`` where the file
    cannot be read or says of a shape nothing that is a split.
    """
    shapes = _read(file)
    settled = np.full(len(ground), -1, np.int64)
    at, found = shapely.STRtree(shapes.geometry.to_numpy()).query(
        shapely.point_on_surface(ground), predicate="intersects"
    )
    settled[at] = shapes[FIELD].map(SPLITS.index).to_numpy()[found]
    return settled


def _read(file: Path) -> gpd.GeoDataFrame:
    shapes = read_shapes(file)
    if shapes.crs is None:
        raise BadData(f"split.keep {file} states no coordinate reference system; assign one.")
    said = set(shapes[FIELD]) if FIELD in shapes else {None}
    if unknown := said - set(SPLITS):
        raise BadData(
            f"split.keep {file} has {sorted(map(str, unknown))} in its attribute {FIELD!r} where "
            f"{', '.join(SPLITS)} are known; correct these shapes."
        )
    return shapes.to_crs(DEGREES)
