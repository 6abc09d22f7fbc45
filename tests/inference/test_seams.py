"""The seam score: windows that show are found, and maps that only look busy are not blamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipelines.inference.seams import SeamScore, seam_score
from pipelines.inference.windows import Axis

DOWN, ACROSS = Axis(700, 128, 32), Axis(900, 128, 32)


def score(path: Path, classes: NDArray[np.uint8], down: Axis = DOWN, across: Axis = ACROSS) -> SeamScore:
    profile = {"height": classes.shape[0], "width": classes.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=Affine.scale(10, -10), **profile) as out:
        out.write(classes, 1)
    return seam_score(path, down, across)


def land(seed: int, sigma: float = 6) -> NDArray[np.float64]:
    return np.asarray(gaussian_filter(np.random.default_rng(seed).normal(size=(700, 900)), sigma))


@pytest.mark.parametrize("sigma", [1, 6, 20])
def test_a_map_that_knows_nothing_of_windows_scores_one_within_its_error(tmp_path: Path, sigma: float) -> None:
    found = [score(tmp_path / f"{seed}.tif", (land(seed, sigma) > 0).astype(np.uint8)) for seed in range(12)]
    off = np.array([(one.score - 1) / one.error for one in found if one.score is not None and one.error])
    assert len(off) == 12
    assert np.abs(off).max() < 4 and (np.abs(off) < 2).mean() > 0.6


def test_windows_that_each_have_a_bias_of_their_own_are_found(tmp_path: Path) -> None:
    random, field = np.random.default_rng(1), land(1)
    for top in DOWN.starts:
        for left in ACROSS.starts:
            rows, columns = DOWN.inside(top)[0], ACROSS.inside(left)[0]
            field[rows, columns] += random.normal(scale=0.3 * field.std())
    found = score(tmp_path / "map.tif", (field > 0).astype(np.uint8))
    assert found.score is not None and found.error is not None
    assert found.score > 1.5 and found.score - 1 > 4 * found.error


def test_ground_without_data_makes_no_seam_and_a_map_without_inner_edges_has_no_score(tmp_path: Path) -> None:
    field = (land(2) > 0).astype(np.uint8)
    whole = score(tmp_path / "whole.tif", field)
    field[:, 450:] = 255
    half = score(tmp_path / "half.tif", field)
    assert whole.score != half.score and half.score is not None and half.error is not None
    assert abs(half.score - 1) < 4 * half.error
    one_window = Axis(60, 128, 32)
    assert score(tmp_path / "small.tif", field[:60, :60], one_window, one_window).score is None
    assert score(tmp_path / "flat.tif", np.zeros((700, 900), np.uint8)).score is None
    assert score(tmp_path / "pixel.tif", field[:1, :1], Axis(1, 128, 32), Axis(1, 128, 32)).score is None
