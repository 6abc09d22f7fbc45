"""Towns: clusters of blocks between streets, dense in the middle and full of gardens at the edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.sample.noise import Field, fractal, uniform


@dataclass(frozen=True)
class Towns:
    """Arrays ``(size, size)``: ``density`` is above 0 inside towns, 1 in their middle; the rest are shares of it."""

    density: Field
    street: Field
    roof: Field  # of what is no street
    tiles: Field  # of the roofs: clay tiles rather than concrete and metal


def make_towns(rng: np.random.Generator, size: int, suited: Field) -> Towns:
    """Place towns of 140 to 700 m radius, and villages, where ``suited`` is high."""
    shape = (size, size)
    density, street, roof, tiles = np.full(shape, -1, np.float32), *(np.zeros(shape, np.float32) for _ in range(3))
    ragged = 0.35 * fractal(rng, size, slope=3.2, longest=40)
    key = int(rng.integers(1 << 31))
    for town, (row, column, radius) in enumerate(_sites(rng, size, suited)):
        reach = int(radius * 2.2)
        rows = slice(max(0, row - reach), min(size, row + reach))
        columns = slice(max(0, column - reach), min(size, column + reach))
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - row
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - column
        dense = 1 - np.hypot(y, x) / np.float32(radius) + ragged[rows, columns]
        inside = dense > np.maximum(density[rows, columns], 0)
        angle, block = rng.random() * np.pi, 6.0 + 4.0 * rng.random()
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle)
        # A street is 8 to 14 m wide, so about a pixel; between streets stand blocks of lots of 2 by 2 pixels or so.
        way = ((along % block) < 1.2) | ((across % (block * 1.4)) < 1.2)
        lot = (np.floor(along / 2.3).astype(np.int64), np.floor(across / 2.3).astype(np.int64))
        built = 0.35 + 0.45 * np.clip(dense, 0, 1) + 0.7 * (uniform(*lot, key, town) - 0.5)
        for target, value in (
            (density, dense),
            (street, 0.75 * way),
            (roof, built),
            (tiles, uniform(*lot, key, -town - 1)),
        ):
            target[rows, columns] = np.where(inside, value, target[rows, columns])
    return Towns(density.clip(None, 1), street, roof.clip(0.05, 0.95), tiles)


def _sites(rng: np.random.Generator, size: int, suited: Field) -> list[tuple[int, int, float]]:
    """Row, column and radius of each town: in each square of 200 pixels the best suited of a few spots."""
    squares = max(1, round(size / 200))
    sites = []
    for square in np.ndindex(squares, squares):
        spots = ((np.array(square) + rng.random((6, 2))) * size / squares).astype(int).clip(0, size - 1)
        row, column = spots[np.argmax(suited[spots[:, 0], spots[:, 1]])]
        sites.append((int(row), int(column), float(np.clip(rng.lognormal(3.25, 0.5), 14, 70))))
    return sites
