from __future__ import annotations

import numpy as np
import pytest

from pipelines.dataset import statistics
from pipelines.dataset.shards import ChipStore, physical
from pipelines.dataset.statistics import Statistics, fill_masked, train_statistics
from tests.dataset.conftest import Town


def test_statistics_are_those_of_all_usable_train_pixels(town: Town) -> None:
    store = ChipStore(town.data / "chips")
    rows = np.flatnonzero(store.index["split"] == "train")
    images, labels, masks = store.gather(rows)
    values = physical(images, store.scale[rows], store.offset[rows]).astype(np.float64)
    found = train_statistics(store)
    assert found.chips == len(rows)
    for i, band in enumerate(found.bands):
        pixels = values[:, i][masks == 0]
        assert (band.mean, band.std) == pytest.approx((pixels.mean(), pixels.std()), rel=1e-6)
        assert (band.minimum, band.maximum) == pytest.approx((pixels.min(), pixels.max()))
        assert (band.p01, band.p99) == pytest.approx(np.percentile(pixels, [1, 99]), abs=2e-3)
    assert found.class_pixels == {name: int((labels == i).sum()) for i, name in enumerate(store.classes)}


def test_percentiles_of_a_sample_are_near_those_of_all(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_statistics(ChipStore(town.data / "chips"))
    monkeypatch.setattr(statistics, "_SAMPLE", 20_000)
    part = train_statistics(ChipStore(town.data / "chips"))
    assert part.bands[0].mean == whole.bands[0].mean
    assert part.bands[0].p99 == pytest.approx(whole.bands[0].p99, abs=5e-3)
    assert part.bands[0].p99 != whole.bands[0].p99


def test_statistics_survive_being_written(town: Town) -> None:
    found = train_statistics(ChipStore(town.data / "chips"))
    assert Statistics.model_validate_json(found.model_dump_json()) == found


def test_hidden_pixels_get_the_mean_and_unlabelled_ones_stay() -> None:
    images = np.full((1, 2, 1, 5), 7, np.float32)
    images[0, :, 0, 1] = np.nan
    masks = np.array([[[0, 1, 2, 8, 12]]], np.uint8)
    filled = fill_masked(images, masks, np.array([1, 2], np.float32))
    assert filled[0, 0, 0].tolist() == [7, 1, 1, 7, 1]
    assert filled[0, 1, 0].tolist() == [7, 2, 2, 7, 2]
    assert np.isnan(images[0, 0, 0, 1])  # the input is left alone
    assert fill_masked(images[0], masks[0], np.array([1, 2], np.float32)).shape == (2, 1, 5)
