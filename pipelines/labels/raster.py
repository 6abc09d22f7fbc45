"""Labels as rasters named like their scenes, on their scenes' own grid."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from pipelines.config.params import Labels
from pipelines.errors import BadData
from pipelines.scenes.remote import driver_of
from pipelines.scenes.scene import Scene

RASTERS = (".tif", ".tiff", ".png", ".jp2", ".img")  # none that can name other files, which no checksum would cover
UNLABELLED = 255
_MOST = 1000  # values that are no class, of which each is counted
_SHOWN = 10  # values in a sentence
_EXACT = 0.01  # pixels that a corner may be off before it is worth telling

log = logging.getLogger(__name__)


class RasterLabels:
    """One raster a scene, found by its name."""

    def __init__(self, files: list[Path], labels: Labels) -> None:
        self._labels = labels
        self._told: list[str] = []
        self._strange: dict[float, set[str]] = {}  # values that are no class, and the files that hold them
        self._noted: set[str] = set()
        self._files: dict[str, Path] = {}
        for file in files:
            if (other := self._files.setdefault(file.stem, file)) != file:
                raise BadData(f"{other} and {file} are named like the same scene; keep one of them.")

    @property
    def findings(self) -> list[str]:
        """Values that are no class are told together; only windows that were burned count."""
        if not self._strange:
            return self._told
        values = sorted(self._strange, key=lambda value: (-len(self._strange[value]), value))
        told = ", ".join(f"{_written(value)} ({_some(self._strange[value])})" for value in values[:_SHOWN])
        more = " and more values" if len(values) > _SHOWN else ""
        return [
            *self._told,
            f"Label rasters hold {told}{more}, which labels.classes does not have; these pixels are unlabelled. "
            "Correct labels.classes, or declare the value as nodata in the rasters if that is meant.",
        ]

    def covers(self, scene: Scene) -> bool:
        matches = self._labels.match is None or fnmatchcase(scene.id, self._labels.match)
        return matches and scene.id in self._files

    def burn(self, scene: Scene, window: Window | None = None) -> NDArray[np.uint8]:
        """Class indices ``(height, width)`` uint8; values that are no class are 255, and told as a finding unless they
        are declared as nodata. A class whose value is declared as nodata is taken for the class, and told.

        Raises ``BadData`` if CRS, shape or corners of the raster are not those of the scene. Corners may differ by up
        to half a pixel, where the nearest pixel is the one at the same row and column.
        """
        if scene.id not in self._files:
            height, width = (window.height, window.width) if window else (scene.height, scene.width)
            return np.full((int(height), int(width)), UNLABELLED, np.uint8)
        with _opened(self._files[scene.id]) as raster:
            self._same_grid(raster, scene)
            if raster.nodata in (each.value for each in self._labels.classes):
                self._find(
                    f"{self._files[scene.id].name} declares {raster.nodata:g} as nodata, which labels.classes has as a "
                    "class; it was taken for the class. Give unlabelled pixels a value that is no class."
                )
            values, nodata = raster.read(1, window=window), raster.nodata
        indices = self._indices(values)
        strange = np.unique(values[indices == UNLABELLED])
        self._note(strange[(strange != nodata) & ~np.isnan(strange)], self._files[scene.id].name)
        return indices

    def files(self, scenes: list[Scene]) -> list[Path]:
        return [self._files[scene.id] for scene in scenes if scene.id in self._files]

    def _indices(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        if values.dtype == np.uint8:
            table = bytearray([UNLABELLED]) * 256
            for index, each in enumerate(self._labels.classes):
                if 0 <= each.value <= 255:
                    table[each.value] = index
            found = values.tobytes().translate(table)  # three times as fast as indexing an array
            return np.frombuffer(found, np.uint8).reshape(values.shape).copy()
        indices = np.full(values.shape, UNLABELLED, np.uint8)
        for index, each in enumerate(self._labels.classes):
            indices[values == each.value] = index
        return indices

    def _same_grid(self, raster: Any, scene: Scene) -> None:
        name = self._files[scene.id].name  # the sentence goes into the manifest, which holds no machine's paths
        if raster.count != 1:
            raise BadData(
                f"Label raster {name} has {raster.count} bands, and classes are one; export it with one band."
            )
        if (raster.height, raster.width) != (scene.height, scene.width):
            raise BadData(
                f"Label raster {name} has {raster.width} x {raster.height} pixels and scene {scene.id} has "
                f"{scene.width} x {scene.height}; draw the labels on the scene's grid."
            )
        if raster.crs is None and raster.transform.is_identity:
            self._find(f"{name} has no georeference; its pixels were taken for those of scene {scene.id}.")
            return
        if raster.crs != CRS.from_user_input(scene.crs):
            raise BadData(
                f"Label raster {name} is in {raster.crs} and scene {scene.id} in {scene.crs}; reproject the labels to "
                "the scene's grid with nearest neighbour."
            )
        corners = [(0, 0), (scene.width, 0), (0, scene.height), (scene.width, scene.height)]
        off = max(
            max(abs(column - c), abs(row - r))
            for c, r in corners
            for column, row in [~scene.affine @ (raster.transform @ (c, r))]
        )
        if off > 0.5:
            raise BadData(
                f"Label raster {name} (transform {tuple(raster.transform)[:6]}) lies {off:.2f} pixels off scene "
                f"{scene.id} (transform {scene.transform}); draw the labels on the scene's grid."
            )
        if off > _EXACT:
            self._find(f"{name} lies {off:.2f} pixels off scene {scene.id}; the nearest pixels were taken.")

    def _note(self, values: NDArray[Any], name: str) -> None:
        for value in values[:_MOST].tolist():
            if value in self._strange or len(self._strange) < _MOST:
                self._strange.setdefault(value, set()).add(name)
        if len(values) and name not in self._noted:
            self._noted.add(name)
            log.warning("%s holds %s, which labels.classes does not have", name, _written(values[0].item()))

    def _find(self, sentence: str) -> None:
        if sentence not in self._told:
            log.warning(sentence)
            self._told.append(sentence)


def _written(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _some(names: set[str]) -> str:
    return min(names) if len(names) == 1 else f"{len(names)} files, such as {min(names)}"


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # told as a finding
            with rasterio.open(file, driver=driver_of(file.name)) as raster:
                yield raster
    except RasterioError as error:
        raise BadData(f"Label raster {file.name} cannot be read; repair it or export it again.") from error
