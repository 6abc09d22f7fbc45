"""Two small places with labels, one of them on two dates, as a catalog on disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import yaml
from shapely.geometry import box

from pipelines.config import Params
from pipelines.scenes.scene import Scene
from tests.builders import UTM_21S, write_scene

NORTH = 9_000_000.0
HERE, THERE = (500_000.0, NORTH), (530_000.0, NORTH)
CLASSES = ("water", "forest", "bare")


def params(source: Path, **sections: dict[str, Any]) -> Params:
    """The repository's parameters, made small: chips of 32 pixels, blocks of 1,280 m, three classes."""
    value = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    value["scenes"] |= {"bands": ["B01", "B02"], "assets": [], "source": "none"}
    classes = [{"name": n, "value": i + 1, "color": f"#{40 * i:02x}2233"} for i, n in enumerate(CLASSES)]
    value["labels"] |= {"source": str(source), "field": "class", "classes": classes}
    value["split"] |= {"block": 1280}
    value["chips"] |= {"size": 32, "stride": 24, "shard": 50}
    for name, section in sections.items():
        value[name] |= section
    return Params.model_validate(value)


def write_labels(path: Path, seed: int = 0) -> Path:
    """Square parcels of 320 m over the ground of both places, classes at random, one tenth left out."""
    random = np.random.default_rng(seed)
    shapes, classes = [], []
    for west, north, side in ((*HERE, 16), (*THERE, 8)):
        for row in range(side):
            for column in range(side):
                if random.random() > 0.1:
                    x, y = west + column * 320, north - row * 320
                    shapes.append(box(x, y - 320, x + 320, y))
                    classes.append(CLASSES[random.integers(3)])
    gpd.GeoDataFrame({"class": classes}, geometry=shapes, crs=UTM_21S).to_file(path)
    return path


def write_town(catalog: Path) -> list[Scene]:
    random = np.random.default_rng(1)

    def pixels(side: int) -> np.ndarray:
        return random.integers(1, 3000, (2, side, side)).astype(np.uint16)

    cloud = np.zeros((512, 512), np.uint8)
    cloud[100:180, 300:420] = 2
    cloud[:40] = 1
    later = datetime(2024, 12, 1, tzinfo=UTC)
    return [
        write_scene(catalog, pixels(512), id="here-a", origin=HERE),
        write_scene(catalog, pixels(512), id="here-b", origin=HERE, mask=cloud, when=later, offset=-0.1),
        write_scene(catalog, pixels(256), id="there", origin=THERE),
    ]
