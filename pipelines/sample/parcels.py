"""Fields: long rectangles in districts of one direction, each with its crop, soil, vigour and rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pipelines.sample.noise import Field, fractal, hashed, uniform


@dataclass(frozen=True)
class Parcels:
    """``id`` ``(size, size)`` counts from 0; ``rows`` is a wave of -1 to 1 across each parcel's rows."""

    id: NDArray[np.int32]
    rows: Field
    border: NDArray[np.bool_]  # tracks and hedges between parcels

    @property
    def count(self) -> int:
        return int(self.id.max()) + 1


def make_parcels(rng: np.random.Generator, size: int) -> Parcels:
    """Cover the ground with parcels of 0.5 to 20 hectares."""
    district = cells(rng, size, spacing=190.0, warp=14.0)
    key = int(rng.integers(1 << 31))
    number = np.arange(district.max() + 1)
    angle = uniform(number, key, 1) * np.float32(np.pi)
    breadth = 14 + 14 * uniform(number, key, 2)
    length = 28 + 44 * uniform(number, key, 3)

    y, x = np.indices((size, size), np.float32)
    turn = angle[district]
    along = x * np.cos(turn) + y * np.sin(turn)
    across = y * np.cos(turn) - x * np.sin(turn)
    row = _merged(np.floor(across / breadth[district]).astype(np.int64), district, key, 4)
    slide = uniform(row, district, key, 5) * length[district]
    column = _merged(np.floor((along + slide) / length[district]).astype(np.int64), district + row * 7919, key, 6)
    _, first = np.unique(hashed(district, row, column, key), return_inverse=True)
    ids = first.reshape(size, size).astype(np.int32)

    period = 3.0 + 2.5 * uniform(np.arange(ids.max() + 1), key, 7)
    cross = uniform(np.arange(ids.max() + 1), key, 8) < 0.3  # worked across rather than along
    phase = np.where(cross[ids], along, across) / period[ids]
    border = np.zeros((size, size), bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:, :] |= ids[1:, :] != ids[:-1, :]
    return Parcels(ids, np.sin(np.float32(2 * np.pi) * phase), border)


def cells(rng: np.random.Generator, size: int, *, spacing: float, warp: float) -> NDArray[np.int64]:
    """Voronoi cells ``(size, size)`` of jittered points ``spacing`` pixels apart, edges bent by ``warp`` pixels."""
    steps = int(np.ceil(size / spacing)) + 2
    corner = np.stack(np.meshgrid(np.arange(steps), np.arange(steps), indexing="ij"), -1).reshape(-1, 2) - 1.0
    points = (corner + rng.random(corner.shape)) * spacing
    y, x = np.indices((size, size), np.float32)
    y += warp * fractal(rng, size, slope=3.0, longest=spacing / 2)
    x += warp * fractal(rng, size, slope=3.0, longest=spacing / 2)
    _, nearest = KDTree(points).query(np.stack([y.ravel(), x.ravel()], axis=1))
    return np.asarray(nearest.reshape(size, size), np.int64)


def _merged(index: NDArray[np.int64], group: NDArray[np.int64], key: int, salt: int) -> NDArray[np.int64]:
    """Join some neighbouring pairs, so that parcels are not all of one size."""
    pair = index // 2
    joined = uniform(pair, group, key, salt) < 0.4
    return np.where(joined, pair * 2, index)
