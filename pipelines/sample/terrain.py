"""Relief, and the rivers that run along its low ground."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from pipelines.sample.noise import Field, fractal

_STEP = 8  # pixels between the nodes of the river network


def rivers(rng: np.random.Generator, elevation: Field) -> NDArray[np.bool_]:
    """Pixels of the rivers: cheapest ways downhill from springs to outlets at the southern edge, joining as they go.

    ``elevation`` is ``(size, size)`` with deviation 1. A river's width grows with the root of the springs above it, as
    hydraulic geometry has it (Leopold and Maddock, USGS Professional Paper 252, 1953).
    """
    size = len(elevation)
    nodes = max(2, size // _STEP)
    low = np.array(elevation[_STEP // 2 :: _STEP, _STEP // 2 :: _STEP][:nodes, :nodes])
    nodes = len(low)
    outlets = _lowest_per_reach(low[-1], 1024 // _STEP) + (nodes - 1) * nodes
    distance, towards, _ = dijkstra(_ways(low), indices=outlets, min_only=True, return_predecessors=True)
    springs = _springs(rng, nodes)
    springs = springs[np.argsort(-distance[springs])]

    flow = np.zeros(nodes * nodes, np.int64)
    for spring in springs:
        node = spring
        while node >= 0:
            flow[node] += 1
            node = towards[node]
    wet = np.flatnonzero((flow > 0) & (towards >= 0))
    place = _meandering(rng, wet, towards, flow, nodes, size)
    lines = shapely.linestrings(np.stack([place[wet], place[towards[wet]]], axis=1))
    beds = shapely.buffer(lines, 2.2 + 1.0 * np.sqrt(flow[wet]), quad_segs=4)
    return np.asarray(rasterize(beds, (size, size), dtype="uint8"), np.uint8).astype(bool)


def _ways(low: Field) -> sparse.csr_matrix:
    """Costs between the eight neighbours: low ground is cheap."""
    nodes = len(low)
    index = np.arange(nodes * nodes).reshape(nodes, nodes)
    height = np.exp(1.6 * low)
    starts, ends, costs = [], [], []
    for a, b, length in (
        (np.s_[:, :-1], np.s_[:, 1:], 1.0),
        (np.s_[:-1, :], np.s_[1:, :], 1.0),
        (np.s_[:-1, :-1], np.s_[1:, 1:], 2**0.5),
        (np.s_[:-1, 1:], np.s_[1:, :-1], 2**0.5),
    ):
        starts.append(index[a].ravel())
        ends.append(index[b].ravel())
        costs.append(((height[a] + height[b]) * length).ravel())
    start, end, cost = map(np.concatenate, (starts, ends, costs))
    both = (np.r_[cost, cost], (np.r_[start, end], np.r_[end, start]))
    return sparse.csr_matrix(both, shape=(nodes * nodes,) * 2)


def _lowest_per_reach(edge: Field, reach: int) -> NDArray[np.int64]:
    return np.array([i + int(np.argmin(edge[i : i + reach])) for i in range(0, len(edge), reach)])


def _springs(rng: np.random.Generator, nodes: int) -> NDArray[np.int64]:
    """One spring in each square of about 240 pixels."""
    squares = max(1, round(nodes * _STEP / 240))
    corner = np.stack(np.meshgrid(np.arange(squares), np.arange(squares), indexing="ij"), -1).reshape(-1, 2)
    spot = ((corner + rng.random(corner.shape)) * nodes / squares).astype(np.int64).clip(0, nodes - 1)
    return np.asarray(spot[:, 0] * nodes + spot[:, 1])


def _meandering(
    rng: np.random.Generator,
    wet: NDArray[np.int64],
    towards: NDArray[np.int64],
    flow: NDArray[np.int64],
    nodes: int,
    size: int,
) -> NDArray[np.float64]:
    """Places ``(node, x and y)`` of the network in pixels, with the grid's corners smoothed away."""
    place = np.stack(np.divmod(np.arange(nodes * nodes), nodes)[::-1], axis=1) * float(_STEP) + _STEP / 2
    upstream = np.full(nodes * nodes, -1)
    for node in wet[np.argsort(flow[wet], kind="stable")]:
        upstream[towards[node]] = node
    inner = wet[upstream[wet] >= 0]
    for _ in range(6):
        place[inner] = 0.5 * place[inner] + 0.25 * (place[towards[inner]] + place[upstream[inner]])
    sway = np.stack([fractal(rng, nodes, slope=2.5, longest=8).ravel() for _ in range(2)], axis=1)
    place[wet] += 7.0 * sway[wet]
    return np.asarray(place.clip(0, size))
