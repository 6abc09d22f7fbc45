"""What lies at a place on the ground: the scene, its values, and what each model version says of it."""

from __future__ import annotations

import logging
from datetime import date, datetime
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from rasterio.errors import CRSError, RasterioError
from rio_tiler.errors import PointOutsideBounds
from rio_tiler.io import Reader

from pipelines.atlas.layers import Atlas
from pipelines.atlas.objects import Object, objects_at
from pipelines.atlas.truth import truth_of
from pipelines.errors import BadData, SwathError
from pipelines.files import read_json
from pipelines.scenes.scene import MaskBit, Scene

log = logging.getLogger(__name__)


class Said(BaseModel):
    """What a model version says of a pixel; ``name`` is ``None`` where it says nothing: no data, cloud or shadow."""

    model_config = ConfigDict(frozen=True)

    version: int
    model: str | None
    name: str | None
    color: str | None
    confidence: float | None  # 0 to 1
    objects: tuple[Object, ...] = ()  # that the pixel lies in, the surest first; of a detector


class Pixel(BaseModel):
    """One pixel of the newest scene that has data there. ``bands`` hold physical values in ``units``."""

    model_config = ConfigDict(frozen=True)

    longitude: float
    latitude: float
    scene: str
    when: datetime
    hidden: str | None  # by cloud or shadow
    bands: dict[str, float]
    units: str
    label: str | None
    unlabelled: str | None  # why the label is not known, where that is a fault
    maps: tuple[Said, ...]  # the newest version first


def pixel_at(
    atlas: Atlas, longitude: float, latitude: float, *, until: date | None = None, scene: str | None = None
) -> Pixel | None:
    """The pixel at a place in degrees, or ``None`` where no scene up to ``until`` has data."""
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise BadData(f"{longitude}, {latitude} is no place on Earth, in degrees.")
    box = (longitude, latitude, longitude, latitude)
    for each in atlas.covering(box, until=until, scene=scene):
        try:
            bits = _value(each.mask_path(atlas.catalog), longitude, latitude)
            if bits is None or int(bits[0]) & MaskBit.NODATA:
                continue
            values = _value(each.image_path(atlas.catalog), longitude, latitude)
        except (RasterioError, CRSError) as error:  # a damaged scene hides none below it
            log.warning("%s cannot be read: %s", each.id, error)
            continue
        if values is None:
            continue
        physical = each.physical(values[:, None, None])[:, 0, 0]
        label, unlabelled = _label(atlas, each, longitude, latitude)
        hidden = {MaskBit.CLOUD: "cloud", MaskBit.SHADOW: "shadow"}
        return Pixel(
            longitude=longitude,
            latitude=latitude,
            scene=each.id,
            when=each.datetime,
            hidden=next((word for bit, word in hidden.items() if int(bits[0]) & bit), None),
            bands={b.name: round(float(v), 5) for b, v in zip(each.bands, physical, strict=True) if np.isfinite(v)},
            units=each.bands[0].units,
            label=label,
            unlabelled=unlabelled,
            maps=tuple(
                _said(atlas, version, each, longitude, latitude)
                for version in sorted(atlas.maps, reverse=True)
                if each.id in atlas.maps[version]
            ),
        )
    return None


def _said(atlas: Atlas, version: int, scene: Scene, longitude: float, latitude: float) -> Said:
    model = read_json(atlas.map_file(version, scene.id, "item.json"))["properties"].get("swath:model")
    found = _value(atlas.map_file(version, scene.id, "classes.tif"), longitude, latitude)
    sure = _value(atlas.map_file(version, scene.id, "confidence.tif"), longitude, latitude)
    entry = next((e for e in atlas.legends[version] if found is not None and e.value == int(found[0])), None)
    return Said(
        version=version,
        model=model,
        name=entry.name if entry else None,
        color=entry.color if entry else None,
        confidence=int(sure[0]) / 100 if entry and sure is not None else None,
        objects=objects_at(atlas, version, scene, longitude, latitude),
    )


def _label(atlas: Atlas, scene: Scene, longitude: float, latitude: float) -> tuple[str | None, str | None]:
    try:
        truth = truth_of(atlas, scene)
    except SwathError as error:  # a dataset out of reach takes nothing away from what the scene and its maps say
        return None, str(error)
    found = None if truth is None else _value(truth.file, longitude, latitude)
    if truth is None or found is None or int(found[0]) >= len(truth.names):
        return None, None
    return truth.names[int(found[0])], None


def _value(path: Path, longitude: float, latitude: float) -> np.ndarray | None:
    """All bands of the pixel at a place, as they are stored; ``None`` outside of the raster."""
    try:
        with Reader(str(path)) as source:
            return np.asarray(source.point(longitude, latitude).array.data)
    except PointOutsideBounds:
        return None
