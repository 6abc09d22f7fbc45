"""Scenes through a model within a budget of memory, whatever the machine has of processors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.evaluation.stitching import Stitcher


@dataclass(frozen=True)
class Ramp:
    """A source whose values grow along rows and columns."""

    bands: int = 2
    height: int = 50
    width: int = 90

    def read(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        row, column = np.mgrid[rows.start : rows.stop, : self.width].astype(np.float32)
        return np.stack([row, column]), np.zeros(row.shape, np.uint8)


def shares(chips: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two classes, the larger the value the more of the second."""
    second = 1 / (1 + np.exp(-(chips[:, 0] - chips[:, 1]) / 20))
    return np.stack([1 - second, second], axis=1)


def test_fewer_threads_work_where_all_would_take_too_much_and_the_map_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mapped(calls: int) -> NDArray[np.float32]:
        stitch = Stitcher(shares, 2, np.zeros(2, np.float32), 32, 8, calls=calls)
        return np.concatenate([band.probabilities for band in stitch(Ramp())], axis=1)

    roomy = mapped(1)
    monkeypatch.setattr("pipelines.evaluation.stitching._MEMORY", 1)
    np.testing.assert_allclose(mapped(96), roomy, atol=1e-6)
