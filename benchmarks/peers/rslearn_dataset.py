"""A dataset of rslearn around the scene, made with its own stages; for its interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rasterio
import shapely
from rslearn.dataset import Dataset
from rslearn.dataset.add_windows import add_windows_from_geometries
from rslearn.dataset.manage import ingest_dataset_windows, materialize_dataset_windows, prepare_dataset_windows
from rslearn.utils import Projection, STGeometry
from upath import UPath

BANDS = ["B1", "B2", "B3", "B4"]  # what its reader of local files calls them


def raster_layer(dtype: str, bands: list[str], source: Path | None = None) -> dict[str, Any]:
    """One of its configuration; ``source`` is a folder of GeoTIFFs that it is made from."""
    layer: dict[str, Any] = {"type": "raster", "band_sets": [{"dtype": dtype, "bands": bands}]}
    if source:
        reader = {"class_path": "rslearn.data_sources.local_files.LocalFiles", "init_args": {"src_dir": str(source)}}
        layer |= {"data_source": reader, "resampling_method": "nearest"}
    return layer


def add_windows(root: Path, layers: dict[str, dict[str, Any]], image: Path, size: int | None) -> Dataset:
    """A dataset in ``root`` with all whole windows of ``size`` px of the image, or one of all of it."""
    root.mkdir()
    (root / "config.json").write_text(json.dumps({"layers": layers}))
    dataset = Dataset(UPath(root))
    with rasterio.open(image) as source:
        projection = Projection(source.crs, source.transform.a, source.transform.e)
        left, top = round(source.transform.c / source.transform.a), round(source.transform.f / source.transform.e)
        width, height = (size, size) if size else (source.width, source.height)
        boxes = [
            shapely.box(left + column, top + row, left + column + width, top + row + height)
            for row in range(0, source.height - height + 1, height)
            for column in range(0, source.width - width + 1, width)
        ]
    add_windows_from_geometries(dataset, "scene", [STGeometry(projection, one, None) for one in boxes], projection)
    return dataset


def materialize(dataset: Dataset) -> None:
    """Its three stages, from files to windows."""
    windows = dataset.load_windows()
    prepare_dataset_windows(dataset, windows)
    ingest_dataset_windows(dataset, windows)
    materialize_dataset_windows(dataset, windows)
