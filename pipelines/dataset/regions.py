"""Places that are apart from each other, each with a map projection of its own in metres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import scipy  # its parts load when they are first used, so stages that never do start faster
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from pipelines.scenes.scene import Scene

EARTH = 6_371_008.8  # metres, mean radius
DEGREES = "EPSG:4326"
_EDGE = 8  # points along each side of a footprint, since straight lines bend between projections


@dataclass(frozen=True)
class Region:
    """Scenes whose footprints touch or lie within the buffer of one another.

    ``projection`` is azimuthal equidistant around the region's centre: distances through the centre are true, others
    come out too long by at most the factor ``stretch`` (1 + 4e-5 at 100 km).
    """

    id: str
    projection: str
    scenes: tuple[str, ...]
    footprint: Any  # shapely geometry in ``projection``
    stretch: float

    def outline(self, scene: Scene, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ground ``(n, 2)`` in ``projection`` of pixel positions ``(n,)``; (0, 0) is the scene's upper left corner."""
        return moved(pixel_points(scene, rows, columns), scene.crs, self.projection)

    def moved_to(self, id: str, projection: str) -> Region:
        """The same ground under another name and in another azimuthal equidistant projection."""
        footprint = shapely.transform(self.footprint, lambda points: moved(points, self.projection, projection))
        return replace(self, id=id, projection=projection, footprint=footprint, stretch=_stretch_over(footprint))


def find_regions(scenes: Sequence[Scene], gap: float) -> list[Region]:
    """Group scenes into regions that are more than ``gap`` metres apart, sorted by id.

    Works in three dimensions first, so that the antimeridian and the poles need no care.
    """
    grids: dict[tuple[Any, ...], list[Scene]] = {}
    for scene in scenes:  # dates of one place mostly share one grid
        grids.setdefault((scene.crs, scene.transform, scene.width, scene.height), []).append(scene)
    firsts = [group[0] for group in grids.values()]
    rings = [outline_of(scene, DEGREES) for scene in firsts]
    vectors = [EARTH * unit_vectors(ring) for ring in rings]
    centres = np.array([v.mean(axis=0) for v in vectors])
    radii = np.array([np.linalg.norm(v - c, axis=1).max() for v, c in zip(vectors, centres, strict=True)])
    pairs = scipy.spatial.cKDTree(centres).query_pairs(2 * float(radii.max()) + 1.01 * gap + 1, output_type="ndarray")
    between = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1)
    between -= radii[pairs].sum(axis=1) + 1.01 * gap + 1
    joined = scipy.cluster.hierarchy.DisjointSet(range(len(firsts)))
    for a, b in pairs[np.argsort(between)][: np.count_nonzero(between <= 0)].tolist():
        if not joined.connected(a, b) and _apart(rings[a], rings[b]) <= gap:
            joined.merge(a, b)
    groups = list(grids.values())
    regions = [
        _region([rings[i] for i in sorted(chosen)], [s.id for i in sorted(chosen) for s in groups[i]])
        for chosen in joined.subsets()
    ]
    return sorted(regions, key=lambda r: r.id)


def pixel_points(scene: Scene, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates ``(n, 2)`` in the scene's CRS of pixel positions."""
    a, b, c, d, e, f = scene.transform
    return np.column_stack([a * columns + b * rows + c, d * columns + e * rows + f])


def moved(points: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """Points ``(n, 2)``, x before y, from one CRS to another."""
    x, y = _transformer(source, target).transform(points[:, 0], points[:, 1])
    return np.column_stack([x, y])


def equidistant(longitude: float, latitude: float) -> str:
    return f"+proj=aeqd +lat_0={latitude:.4f} +lon_0={longitude:.4f} +datum=WGS84 +units=m +no_defs"


def unit_vectors(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, 3)`` on the unit sphere of longitudes and latitudes ``(n, 2)``."""
    longitude, latitude = np.radians(degrees).T
    flat = np.cos(latitude)
    return np.column_stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])


def centre_of(vectors: NDArray[np.float64]) -> tuple[float, float]:
    """Longitude and latitude of the mean of unit vectors ``(n, 3)``."""
    x, y, z = vectors.mean(axis=0)
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


def stretch(radius: float) -> float:
    """By how much distances come out too long at ``radius`` metres from the centre of an equidistant projection."""
    angle = radius / EARTH
    return angle / math.sin(angle) if 0 < angle < math.pi else 1.0


def _region(rings: list[NDArray[np.float64]], scenes: list[str]) -> Region:
    longitude, latitude = centre_of(unit_vectors(np.concatenate(rings)))
    projection = equidistant(longitude, latitude)
    polygons = [shapely.make_valid(shapely.Polygon(moved(ring, DEGREES, projection))) for ring in rings]
    footprint = shapely.union_all(polygons)
    name = f"{'N' if latitude >= 0 else 'S'}{abs(latitude):07.4f}{'E' if longitude >= 0 else 'W'}{abs(longitude):08.4f}"
    return Region(
        id=name,
        projection=projection,
        scenes=tuple(sorted(scenes)),
        footprint=footprint,
        stretch=_stretch_over(footprint),
    )


def _stretch_over(footprint: Any) -> float:
    """The most that distances between points of ``footprint``, around (0, 0), come out too long."""
    return stretch(float(np.linalg.norm(shapely.get_coordinates(footprint), axis=1).max()))


def _apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Metres between two rings in degrees."""
    projection = equidistant(*centre_of(unit_vectors(np.concatenate([a, b]))))
    one, two = (shapely.Polygon(moved(ring, DEGREES, projection)) for ring in (a, b))
    radius = max(float(np.linalg.norm(shapely.get_coordinates(p), axis=1).max()) for p in (one, two))
    return float(shapely.distance(one, two)) / stretch(radius)


def outline_of(scene: Scene, target: str) -> NDArray[np.float64]:
    """Points ``(n, 2)`` along the border of ``scene`` in the CRS ``target``."""
    share = np.arange(_EDGE) / _EDGE
    zero, one = np.zeros(_EDGE), np.ones(_EDGE)
    rows = np.concatenate([zero, share, one, 1 - share]) * scene.height
    columns = np.concatenate([share, one, 1 - share, zero]) * scene.width
    return moved(pixel_points(scene, rows, columns), scene.crs, target)


@lru_cache(maxsize=4096)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)
