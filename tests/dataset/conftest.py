from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import pytest

from pipelines.config import Params
from pipelines.dataset.chips import cut_chips
from pipelines.dataset.snapshot import Manifest, take_snapshot
from pipelines.dataset.split import make_split
from tests.dataset.town import params, write_labels, write_town


@dataclass(frozen=True)
class Town:
    catalog: Path
    data: Path
    params: Params
    manifest: Manifest
    blocks: gpd.GeoDataFrame
    plan: gpd.GeoDataFrame
    buffer: float


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A dataset made of two places, chips cut; tests must not change it."""
    folder = tmp_path_factory.mktemp("town")
    catalog, data = folder / "catalog", folder / "data"
    values = params(write_labels(folder / "parcels.gpkg"))
    manifest = take_snapshot(write_town(catalog), catalog, values, data)
    blocks, plan, buffer = make_split(manifest, catalog, data / "labels", values)
    cut_chips(plan, manifest, catalog, data / "labels", values, data / "chips")
    return Town(catalog, data, values, manifest, blocks, plan, buffer)
