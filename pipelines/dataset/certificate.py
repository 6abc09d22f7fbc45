"""Whether anything leaks between the splits, measured from the footprints of the chips alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from pyproj import Geod, Transformer
from rasterio.windows import Window
from scipy.spatial import cKDTree

from pipelines.dataset.blocks import SPLITS
from pipelines.dataset.snapshot import Manifest
from pipelines.errors import BadData
from pipelines.files import read_json
from pipelines.scenes.scene import Scene

_TOLERANCE = 1e-3  # of a distance: footprints are stored in degrees, and measured on another map than they were made on


class Certificate(BaseModel):
    """``data/certificate.json``. A dataset without a clean one cannot be trained on."""

    model_config = ConfigDict(frozen=True)

    clean: bool
    overlap_m2: float  # ground that chips of different splits share
    smallest_distance_m: float | None  # between chips of different splits; None if there is one split only
    buffer_m: float
    diagonal_m: float  # of the largest chip
    class_balance: dict[str, dict[str, float]]  # split: class: share of the labelled pixels of its blocks
    blocks: dict[str, int]
    chips: dict[str, int]
    findings: tuple[str, ...]


def read_certificate(path: Path) -> Certificate:
    if not Path(path).exists():
        raise BadData(f"{path} does not exist; run `swath split` first.")
    return Certificate.model_validate(read_json(path))


def require_clean(path: Path) -> Certificate:
    """The certificate at ``path``; ``BadData`` with its findings if it is not clean."""
    certificate = read_certificate(path)
    if not certificate.clean:
        raise BadData(
            f"{path} is not clean, so nothing may be trained on this dataset: {' '.join(certificate.findings)} Correct "
            "the scenes or the section `split` of params.yaml, and run `swath split` again."
        )
    return certificate


def certify(
    plan: gpd.GeoDataFrame, blocks: gpd.GeoDataFrame, buffer: float, manifest: Manifest, catalog: Path
) -> Certificate:
    """Measure overlap and distance between the splits of ``plan``, and look for scenes that are copies of others.

    Knows nothing of regions, grids or how the splits came about. Clean means no overlap, no distance below the buffer
    or the diagonal of a chip, and no pixels of one split in another under a second name.
    """
    corners, splits = _corners(plan)
    diagonal = _diagonal(corners)
    overlap, distance = _between(plan, corners, splits)
    leaks = []
    if overlap > 0:
        leaks.append(f"Chips of different splits share {overlap:.0f} square metres of ground.")
    if distance is not None and distance < buffer * (1 - _TOLERANCE):
        leaks.append(f"Chips of different splits come as near as {distance:.1f} m; the buffer is {buffer:.1f} m.")
    if buffer < diagonal * (1 - _TOLERANCE):
        leaks.append(f"The buffer of {buffer:.1f} m is less than the {diagonal:.1f} m of a chip's diagonal.")
    copies, copied = _copies(plan, manifest, catalog)
    classes = [c for c in blocks.columns if c.startswith("pixels_")]
    pixels = {s: blocks.loc[blocks["split"] == s, classes].sum() for s in SPLITS}
    absent = [
        f"Class {c.removeprefix('pixels_')} is not in the {s} split."
        for s in SPLITS
        for c in classes
        if pixels[s].sum() > 0 and pixels[s][c] == 0
    ]
    return Certificate(
        clean=not leaks and not copies,
        overlap_m2=round(overlap, 3),
        smallest_distance_m=None if distance is None else round(distance, 3),
        buffer_m=round(buffer, 3),
        diagonal_m=round(diagonal, 3),
        class_balance={
            s: {c.removeprefix("pixels_"): round(float(pixels[s][c] / max(1, pixels[s].sum())), 6) for c in classes}
            for s in SPLITS
        },
        blocks={s: int((blocks["split"] == s).sum()) for s in SPLITS},
        chips={s: int((plan["split"] == s).sum()) for s in SPLITS},
        findings=(*leaks, *copies, *copied, *absent),
    )


def _corners(plan: gpd.GeoDataFrame) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Corners of the distinct footprints ``(n, 4, 3)`` in geocentric metres (EPSG:4978), and their splits."""
    degrees = shapely.get_coordinates(plan.geometry.to_numpy()).reshape(-1, 5, 2)[:, :4]
    to_metres = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    longitude, latitude = degrees.reshape(-1, 2).T
    x, y, z = to_metres.transform(longitude, latitude, np.zeros(len(longitude)))
    return np.column_stack([x, y, z]).reshape(-1, 4, 3), plan["split"].to_numpy(str)


def _diagonal(corners: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(corners[:, :2] - corners[:, 2:], axis=2).max()) if len(corners) else 0.0


def _between(
    plan: gpd.GeoDataFrame, corners: NDArray[np.float64], splits: NDArray[np.str_]
) -> tuple[float, float | None]:
    """Shared ground in square metres and the smallest distance in metres between chips of different splits."""
    smallest: float | None = None
    shared: list[Any] = []
    degrees = plan.geometry.to_numpy()
    for one, other in combinations(SPLITS, 2):
        a, b = _distinct(corners, splits == one), _distinct(corners, splits == other)
        if not len(a) or not len(b):
            continue
        for i, j in _candidates(corners, a, b):
            flat = _flattened(corners[i], corners[j])
            distances = shapely.distance(flat[0], flat[1])
            smallest = min(float(distances.min()), np.inf if smallest is None else smallest)
            touching = np.flatnonzero(distances == 0)
            ground = shapely.intersection(degrees[i[touching]], degrees[j[touching]])
            shared.append(shapely.union_all(ground[shapely.area(ground) > 0]))
    area = abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.union_all(shared))[0]) if shared else 0.0
    return float(area), smallest


def _distinct(corners: NDArray[np.float64], mine: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of ``mine`` without those that repeat a footprint, as other dates of a place do."""
    rows = np.flatnonzero(mine)
    _, first = np.unique(corners[rows].reshape(-1, 12).round(3), axis=0, return_index=True)
    return rows[np.sort(first)]


def _candidates(
    corners: NDArray[np.float64], a: NDArray[np.int64], b: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of footprints among which are the nearest ones and all that overlap, in portions."""
    centres = corners.mean(axis=1)
    radius = float(np.linalg.norm(corners - centres[:, None], axis=2).max())
    tree = cKDTree(centres[b])
    nearest, _ = tree.query(centres[a])
    reach = float(nearest.min()) + 2 * radius + 1
    near = a[nearest <= reach]
    for start in range(0, len(near), 4096):
        part = near[start : start + 4096]
        found = tree.query_ball_point(centres[part], reach)
        counts = [len(f) for f in found]
        yield np.repeat(part, counts), b[np.concatenate([np.asarray(f, np.int64) for f in found])]


def _flattened(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Polygons of pairs of footprints ``(n, 4, 3)`` on the plane that touches the ground between the two."""
    middle = (a.mean(axis=1) + b.mean(axis=1)) / 2
    up = middle / np.linalg.norm(middle, axis=1, keepdims=True)
    aside = np.where(np.abs(up[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    east = np.cross(aside, up)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    axes = np.stack([east, np.cross(up, east)], axis=2)  # (n, 3, 2)
    return tuple(shapely.polygons((each - middle[:, None]) @ axes) for each in (a, b))  # type: ignore[return-value]


def _copies(plan: gpd.GeoDataFrame, manifest: Manifest, catalog: Path) -> tuple[list[str], list[str]]:
    """Sentences on scenes with the same pixels under two names: those that leak between splits, and the others."""
    groups: dict[str, list[Scene]] = {}
    for scene in manifest.scenes:
        groups.setdefault(_fingerprint(scene, catalog), []).append(scene)
    leaks, others = [], []
    for group in groups.values():
        digests = {scene.id: _digest(scene, catalog) for scene in group} if len(group) > 1 else {}
        for one, other in combinations(group, 2):
            if digests[one.id] != digests[other.id]:
                continue
            sentence = f"Scenes {one.id} and {other.id} have the same pixels; "
            if _windows_cross(plan, one.id, other.id):
                leaks.append(sentence + "one of them is a copy that carries pixels into another split.")
            else:
                others.append(sentence + "leave one of them out.")
    return leaks, others


def _fingerprint(scene: Scene, catalog: Path) -> str:
    """A cheap hash of nine small windows; scenes with different ones have different pixels."""
    digest = hashlib.sha256(f"{scene.width} {scene.height} {scene.dtype} {len(scene.bands)}".encode())
    side = min(32, scene.width, scene.height)
    with rasterio.open(scene.image_path(catalog)) as image:
        for row in (0, 1, 2):
            for column in (0, 1, 2):
                top, left = (scene.height - side) * row // 2, (scene.width - side) * column // 2
                digest.update(image.read(window=Window(left, top, side, side)).tobytes())
    return digest.hexdigest()


def _digest(scene: Scene, catalog: Path) -> str:
    digest = hashlib.sha256()
    with rasterio.open(scene.image_path(catalog)) as image:
        for top in range(0, scene.height, 512):
            strip = Window(0, top, scene.width, min(512, scene.height - top))
            digest.update(np.ascontiguousarray(image.read(window=strip)).tobytes())
    return digest.hexdigest()


def _windows_cross(plan: gpd.GeoDataFrame, one: str, other: str) -> bool:
    """Whether chips of the two scenes in different splits show the same pixels."""
    row, column, size = (plan[name].to_numpy() for name in ("row", "col", "size"))
    boxes = shapely.box(column, row, column + size, row + size)
    first, second = (np.flatnonzero((plan["scene_id"] == id).to_numpy()) for id in (one, other))
    a, b = shapely.STRtree(boxes[second]).query(boxes[first], predicate="intersects")
    shared = shapely.area(shapely.intersection(boxes[first[a]], boxes[second[b]])) > 0
    splits = plan["split"].to_numpy()
    return bool((shared & (splits[first[a]] != splits[second[b]])).any())
