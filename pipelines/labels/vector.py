"""Labels drawn as shapes: a pixel has the class of the shape that its centre lies in."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
import shapely.affinity
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.windows import Window

from pipelines.config.params import Labels
from pipelines.errors import BadData
from pipelines.labels.boxes import VISIBLE, Boxes
from pipelines.scenes.scene import Scene

_STARTS = {  # what the files of each ending begin with
    ".gpkg": b"SQLite format 3\0",
    ".geojson": b"{",
    ".json": b"{",
    ".shp": b"\0\0\x27\x0a",
    ".fgb": b"fgb",
    ".parquet": b"PAR1",
}
VECTORS = tuple(_STARTS)
UNLABELLED = 255
_SIDECARS = (".shx", ".dbf", ".prj", ".cpg")

log = logging.getLogger(__name__)


class VectorLabels:
    """Shapes of one or more files, in one table."""

    def __init__(self, files: list[Path], labels: Labels) -> None:
        self.findings: list[str] = []
        self._paths = files
        self._labels = labels
        self._background = UNLABELLED
        if labels.background is not None:
            self._background = [c.name for c in labels.classes].index(labels.background)
        parts = [self._prepare(file) for file in files]
        crs = parts[0].crs
        joined = pd.concat([p.to_crs(crs) for p in parts], ignore_index=True)
        self._shapes = gpd.GeoDataFrame(joined, geometry="geometry", crs=crs)
        if self._shapes.empty:
            raise BadData(
                f"No usable shape is left of {_names(files)}; look at the findings above and repair the file."
            )
        self._projected: dict[str, tuple[NDArray[Any], NDArray[np.uint8], shapely.STRtree]] = {}

    def covers(self, scene: Scene) -> bool:
        """True where a shape meets the scene's bounds; with a background and ``labels.match``, wherever it matches."""
        if self._labels.match is not None and not fnmatchcase(scene.id, self._labels.match):
            return False
        if self._labels.match is not None and self._labels.background is not None:
            return True
        ground = _ground(scene, _whole(scene))
        return bool(shapely.intersects(self._near(scene, _whole(scene))[0], ground).any())

    def burn(self, scene: Scene, window: Window | None = None) -> NDArray[np.uint8]:
        """Class indices ``(height, width)`` uint8 by pixel centre; later shapes lie over earlier ones."""
        window = window or _whole(scene)
        shape = (int(window.height), int(window.width))
        geometries, classes = self._near(scene, window)
        if not len(classes):
            return np.full(shape, self._background, np.uint8)
        transform = scene.affine @ scene.affine.translation(window.col_off, window.row_off)
        burned: NDArray[np.uint8] = rasterize(
            zip(geometries, classes.tolist(), strict=True),
            out_shape=shape,
            transform=transform,
            fill=self._background,
            dtype="uint8",
        )
        return burned

    def boxes(self, scene: Scene) -> Boxes:
        """The box around each shape that is not background and of which the scene shows enough.

        In pixels of the scene, and cut at its border.
        """
        geometries, classes = self._near(scene, _whole(scene))
        geometries, classes = geometries[classes != self._background], classes[classes != self._background]
        inverse = (~scene.affine).to_shapely()
        pixels = [shapely.affinity.affine_transform(geometry, inverse) for geometry in geometries]
        found = Boxes(shapely.bounds(pixels).reshape(-1, 4).astype(np.float32), classes)
        return found.within(0, 0, scene.width, scene.height, VISIBLE)[0]

    def files(self, scenes: list[Scene]) -> list[Path]:
        """The files that labels are read from, with the parts of a shapefile, however their endings are written."""
        shapefiles = [file for file in self._paths if file.suffix.lower() == ".shp"]
        beside = [(file, other) for file in shapefiles for other in sorted(file.parent.iterdir())]
        return self._paths + [o for f, o in beside if o.stem == f.stem and o.suffix.lower() in _SIDECARS]

    def _prepare(self, file: Path) -> gpd.GeoDataFrame:
        """Columns geometry and ``class`` (index); broken geometries repaired, empty and unknown ones dropped."""
        frame = read_shapes(file)
        if frame.crs is None:
            raise BadData(f"{file} states no coordinate reference system; assign one (for a shapefile, add its .prj).")
        places, owners = shapely.get_coordinates(frame.geometry.to_numpy(), return_index=True)
        nowhere = np.unique(owners[~np.isfinite(places).all(axis=1)])
        if len(nowhere):
            self._find(f"{file.name}: {len(nowhere)} shape(s) at coordinates that are no numbers were left out.")
            frame = frame.drop(frame.index[nowhere])
        empty = (frame.geometry.isna() | frame.geometry.is_empty).to_numpy()
        if empty.any():
            self._find(f"{file.name}: {empty.sum()} shape(s) without geometry were left out.")
            frame = frame[~empty]
        broken = ~frame.geometry.is_valid.to_numpy()
        if broken.any():
            self._find(
                f"{file.name}: {broken.sum()} invalid geometry(ies) were repaired; check them against the image."
            )
        geometry = frame.geometry.to_numpy()
        if broken.any():
            geometry = np.array([_surface(shape) for shape in shapely.make_valid(geometry)], object)
        flat = shapely.area(geometry) == 0
        if flat.any():
            self._find(f"{file.name}: {flat.sum()} shape(s) have no area and were left out.")
        prepared = gpd.GeoDataFrame({"class": self._classes(frame, file)}, geometry=list(geometry), crs=frame.crs)
        return prepared[~flat & (prepared["class"] != UNLABELLED).to_numpy()].reset_index(drop=True)

    def _classes(self, frame: gpd.GeoDataFrame, file: Path) -> NDArray[np.uint8]:
        classes, field = self._labels.classes, self._labels.field
        if field is None:
            return np.ones(len(frame), np.uint8)
        if frame.empty:
            return np.empty(0, np.uint8)
        if field not in frame:
            raise BadData(
                f"{file} has no attribute {field!r}, only {sorted(set(frame.columns) - {'geometry'})}; correct "
                "labels.field."
            )
        index = {c.name.casefold(): i for i, c in enumerate(classes)} | {str(c.value): i for i, c in enumerate(classes)}
        given = frame[field].notna()
        if not given.all():
            self._find(f"{file.name}: {(~given).sum()} shape(s) have nothing in {field!r} and were left out.")
        keys = frame[field].astype(object).map(_key).where(given, "")
        found = keys.map(index)
        if found.isna().all() and len(self._paths) == 1:
            raise BadData(
                f"No shape of {file} has a class that labels.classes knows; {field!r} holds {sorted(set(keys))[:12]}. "
                "Correct labels.classes or labels.field."
            )
        strange = found.isna() & given
        if unknown := sorted(set(keys[strange])):
            self._find(f"{file.name}: {strange.sum()} shape(s) of {unknown[:12]} are none of labels.classes; left out.")
        return np.asarray(found.fillna(UNLABELLED).to_numpy(np.uint8))

    def _near(self, scene: Scene, window: Window) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Shapes in the scene's CRS whose bounds meet a window of it, in the order of the files, and their classes.

        A grid in degrees may count on beyond 180, where shapes are found a turn back.
        """
        geometries, classes, tree = self._in(scene.crs)
        ground = _ground(scene, window)
        here = tree.query(ground)
        shapes = geometries[here]
        west, _, east, _ = ground.bounds
        if (west < -180 or east > 180) and CRS.from_user_input(scene.crs).is_geographic:
            for turn in (-360, 360):
                beyond = tree.query(shapely.affinity.translate(ground, turn))
                turned = [shapely.affinity.translate(geometries[i], -turn) for i in beyond]
                here, shapes = np.append(here, beyond), np.append(shapes, np.array(turned, object))
        order = np.argsort(here, kind="stable")
        return shapes[order], classes[here[order]]

    def _in(self, crs: str) -> tuple[NDArray[Any], NDArray[np.uint8], shapely.STRtree]:
        if crs not in self._projected:
            projected = _with_places(self._shapes.to_crs(crs).geometry.to_numpy())
            usable = ~shapely.is_empty(projected)
            projected, classes = projected[usable], self._shapes["class"].to_numpy(np.uint8)[usable]
            self._projected[crs] = (projected, classes, shapely.STRtree(projected))
        return self._projected[crs]

    def _find(self, sentence: str) -> None:
        log.warning(sentence)
        self.findings.append(sentence)


def read_shapes(file: Path) -> gpd.GeoDataFrame:
    """The shapes of a file and their attributes. Raises ``BadData`` where it is not what its ending says.

    Left to guess by content, GDAL would also open a VRT, which can name any other file or address as its source.
    """
    unwritten = file.with_name(f"{file.name}-wal")
    if unwritten.exists() and unwritten.stat().st_size:
        raise BadData(
            f"{file} is open in another program, whose last edits are still in {unwritten.name} beside it; close the "
            "layer there (QGIS: remove it or quit), so that they are written."
        )
    try:
        with file.open("rb") as stream:
            start = stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start.startswith(_STARTS[file.suffix.lower()]):
            raise ValueError(f"it begins with {start[:16]!r}")
        if file.suffix.lower() == ".parquet":
            return gpd.read_parquet(file)
        layers = [name for name, kind in pyogrio.list_layers(file) if kind]  # QGIS's styles are of no kind
        if not layers:
            raise ValueError("no layer of it has shapes")
        if len(layers) == 1:
            try:
                return pyogrio.read_dataframe(file, layer=layers[0])
            except (LookupError, UnicodeDecodeError):  # a .cpg with a name that Python does not know, or the wrong one
                return pyogrio.read_dataframe(file, layer=layers[0], encoding="ISO-8859-1")
    except Exception as error:  # pyogrio and pyarrow have no common base class below Exception
        raise BadData(f"{file} cannot be read as {file.suffix} ({error}); repair it or export it again.") from error
    raise BadData(f"{file} has the layers {', '.join(layers)}; export that of the labels to a file of its own.")


def _key(value: Any) -> str:
    """The spelling under which a class is looked up: 3, 3.0 and "3" are one; case does not count."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip().casefold()


def _surface(repaired: shapely.Geometry) -> shapely.Geometry:
    """What of a repaired shape has an area. Its spikes are lines now, which are neither pixels nor part of a box."""
    if shapely.get_type_id(repaired) != shapely.GeometryType.GEOMETRYCOLLECTION:
        return repaired
    return shapely.union_all([part for part in shapely.get_parts(repaired) if shapely.get_dimensions(part) == 2])


def _with_places(projected: NDArray[Any]) -> NDArray[Any]:
    """Without the parts of shapes that a projection has no place for, as half the globe away from its zone."""
    for i in np.flatnonzero(~np.isfinite(shapely.bounds(projected)).all(axis=1)):
        parts = shapely.get_parts(projected[i])
        projected[i] = shapely.MultiPolygon(list(parts[np.isfinite(shapely.bounds(parts)).all(axis=1)]))
    return projected


def _whole(scene: Scene) -> Window:
    return Window(0, 0, scene.width, scene.height)


def _ground(scene: Scene, window: Window) -> shapely.Polygon:
    left, top = window.col_off, window.row_off
    right, bottom = left + window.width, top + window.height
    return shapely.Polygon([scene.affine @ c for c in ((left, top), (right, top), (right, bottom), (left, bottom))])


def _names(files: list[Path]) -> str:
    return ", ".join(file.name for file in files)
