"""The reference that is made of a dataset's chips."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from pipelines.dataset.shards import HEADER, INDEX, ChipStore, shard_file
from pipelines.files import write_json
from pipelines.monitoring.chips import chip_samples
from pipelines.monitoring.looks import chip_looks, read_looks
from pipelines.scenes.scene import MaskBit

SIZE = 32
BANDS = ("red", "nir")


@pytest.fixture
def store(tmp_path: Path) -> ChipStore:
    """Two train scenes of ten chips and a test scene; digital numbers with a scale and an offset of the scene's own."""
    rng = np.random.default_rng(0)
    scenes = [("a", "train", 1000, 0.0), ("b", "train", 2000, -0.1), ("c", "test", 9000, 0.0)]
    images, rows = [], []
    for scene, split, level, offset in scenes:
        for i in range(10):
            images.append(rng.normal(level, 50, (2, SIZE, SIZE)).astype(np.uint16))
            rows.append(
                {"scene_id": scene, "split": split, "shard": 0, "position": len(rows), "chip_id": f"{scene}-{i}"}
                | {
                    "block_id": f"block-{i // 3}",
                    "season": "summer",
                    "zone": "21S",
                    "datetime": pd.Timestamp("2024-01-01", tz="UTC"),
                }
                | {f"scale_{b}": 1e-4 for b in BANDS}
                | {f"offset_{b}": offset for b in BANDS}
            )
    masks = np.zeros((len(rows), SIZE, SIZE), np.uint8)
    masks[:, : SIZE // 2] = MaskBit.CLOUD
    masks[:, SIZE // 2 :] = MaskBit.UNLABELLED
    pixels = np.stack(images)
    pixels[:, :, : SIZE // 2] = 60_000
    np.save(tmp_path / shard_file(0, "images"), pixels)
    np.save(tmp_path / shard_file(0, "masks"), masks)
    np.save(tmp_path / shard_file(0, "labels"), np.full(masks.shape, 255, np.uint8))
    gpd.GeoDataFrame(rows, geometry=[box(0, 0, 1, 1)] * len(rows), crs="EPSG:4326").to_parquet(tmp_path / INDEX)
    header = {"bands": BANDS, "units": ["reflectance"] * 2, "classes": ["x"], "size": SIZE, "dtype": "uint16"}
    write_json(tmp_path / HEADER, header)
    return ChipStore(tmp_path)


def test_each_train_scene_is_sampled_in_physical_units_without_its_clouds(store: ChipStore):
    samples = list(chip_samples(store, 1000))
    assert [facts.scene for facts, _ in samples] == ["a", "b"]
    for (facts, columns), level in zip(samples, (0.1, 0.1), strict=True):
        assert facts.pixels == len(columns["band.red"]) == pytest.approx(1000, rel=0.15)
        assert columns["band.red"].mean() == pytest.approx(level, abs=0.002)
        assert columns["band.red"].max() < 0.2
        assert "index.ndvi" in columns


def test_the_sample_repeats(store: ChipStore):
    (_, one), (_, other) = (next(iter(chip_samples(store, 500))) for _ in range(2))
    np.testing.assert_equal(one, other)


def test_looks_are_of_train_chips_in_physical_units_without_clouds(store: ChipStore, tmp_path: Path):
    looks = chip_looks(store)
    assert (looks.bands, looks.side, looks.values.shape) == (BANDS, SIZE, (20, 4))
    np.testing.assert_allclose(looks.values[:, :2], 0.1, atol=0.001)
    np.testing.assert_allclose(looks.values[:, 2:], 0.005, atol=0.001)
    looks.write(tmp_path)
    first = (tmp_path / "looks.npz").read_bytes()
    np.testing.assert_array_equal(read_looks(tmp_path).values, looks.values)
    looks.write(tmp_path)
    assert (tmp_path / "looks.npz").read_bytes() == first  # or DVC would call the reference changed
    assert read_looks(tmp_path / "of a model made before") is None
