"""The labels of a scene as a raster on its own grid, to hold maps against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio.shutil import copy
from rasterio.windows import Window

from pipelines.atlas.datasets import LABELS, datasets, fetched, labels_params
from pipelines.atlas.layers import Atlas
from pipelines.config import settings
from pipelines.errors import BadData
from pipelines.files import alone, read_json, replacing, write_json
from pipelines.labels.raster import UNLABELLED
from pipelines.labels.source import LabelSource, open_labels
from pipelines.scenes.scene import Scene

_NONE = "none.json"  # ids of scenes without labels
_OVERVIEWS = "mode"  # as those of maps, or errors would be seen from far off that are none
_ROWS = 512


@dataclass(frozen=True)
class Truth:
    """A raster of class indices, 255 where unlabelled, and the names that the indices stand for."""

    file: Path
    names: tuple[str, ...]


def truth_of(atlas: Atlas, scene: Scene) -> Truth | None:
    """The labels of ``scene`` in the newest dataset version, burned the first time; ``None`` if it has none."""
    newest = next(iter(datasets(atlas.project)), None)
    if newest is None:
        return None
    folder = settings().home / "atlas" / atlas.project / f"truth-v{newest.number}-{newest.commit[:12]}-{_OVERVIEWS}"
    params = labels_params(newest)
    names = tuple(each.name for each in params.classes)
    file = _file(folder, scene)
    if file.exists():
        return Truth(file, names)
    with alone(folder.with_name(f".{folder.name}.lock")):
        if file.exists():
            return Truth(file, names)
        without = set(read_json(folder / _NONE)) if (folder / _NONE).exists() else set()
        if file.name in without:
            return None
        source = open_labels(fetched(newest, LABELS), params)
        if not source.covers(scene):
            write_json(folder / _NONE, sorted(without | {file.name}))
            return None
        with replacing(file) as draft:
            _write(source, scene, draft)
    return Truth(file, names)


def _write(source: LabelSource, scene: Scene, target: Path) -> None:
    """The labels of ``scene`` as a COG, a row of blocks at a time, for this runs beside Airflow's pages."""
    shape = {"width": scene.width, "height": scene.height, "crs": scene.crs, "transform": scene.affine}
    tiles = {"tiled": True, "blockxsize": _ROWS, "blockysize": _ROWS, "compress": "deflate", "bigtiff": "if_safer"}
    rows = target.with_suffix(".rows")
    with rasterio.open(rows, "w", driver="GTiff", count=1, dtype="uint8", nodata=UNLABELLED, **shape, **tiles) as out:
        for top in range(0, scene.height, _ROWS):
            window = Window(0, top, scene.width, min(_ROWS, scene.height - top))
            out.write(source.burn(scene, window), 1, window=window)
    copy(rows, target, driver="COG", compress="deflate", overview_resampling=_OVERVIEWS, bigtiff="if_safer")
    rows.unlink()


def same_classes(truth: Truth, atlas: Atlas, version: int) -> None:
    """Raise ``BadData`` unless the maps of ``version`` know the classes of the labels."""
    names = tuple(entry.name for entry in atlas.legends[version])
    if names != truth.names:
        raise BadData(
            f"Version {version} maps {', '.join(names)}, and the labels name {', '.join(truth.names)}; they cannot be "
            "held against each other."
        )


def _file(folder: Path, scene: Scene) -> Path:
    return folder / f"{scene.id}-{scene.image_sha256[:12]}.tif"
