"""The STAC item of a map: which model made it, from which data and code, of which image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from pyproj import Geod
from rasterio.windows import Window
from shapely import STRtree
from shapely.geometry import shape

from pipelines.bundle.contract import MLM, Contract, slugs
from pipelines.bundle.store import Bundle
from pipelines.config.params import Also, LabelClass
from pipelines.errors import BadData
from pipelines.files import read_json, sha256, write_json
from pipelines.inference.layers import CLASSES, NODATA, Layer
from pipelines.inference.outlines import OBJECTS, OBJECTS_FLATGEOBUF
from pipelines.inference.polygons import FLATGEOBUF, POLYGONS
from pipelines.inference.provenance import Provenance
from pipelines.inference.raster import Raster
from pipelines.inference.seams import SeamScore
from pipelines.inference.writer import Grid
from pipelines.scenes.footprint import footprint

ITEM = "item.json"
_EXTENSIONS = [
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]
_STRIP = 64  # rows
_SLIVER = 0.01  # of a map
_COG = pystac.MediaType.COG
MODEL_NAME = "mlm:name"  # marks a link to a model among those to images


def write_item(
    folder: Path,
    raster: Raster,
    bundles: Sequence[Bundle],
    layers: Sequence[Layer],
    class_pixels: dict[str, int],
    seams: SeamScore,
    provenance: Provenance,
    simplify: float = 0.0,
) -> None:
    """Write ``item.json`` over the map in ``folder``; after the first of ``bundles`` come the others of an ensemble."""
    bundle = bundles[0]
    # A file that does not say when it was taken is dated by its last change, and the item says so.
    when = raster.when or datetime.fromtimestamp(Path(raster.image).stat().st_mtime, UTC)
    item = map_item(folder, raster.id, raster, when.astimezone(UTC), layers, bundle.contract.classes)
    item.properties |= {
        "title": f"Classes of {raster.id} by {bundle.name}",
        "swath:source_sha256": raster.sha256,
        "swath:mask_sha256": raster.mask_sha256,
        "swath:dated": raster.when is not None,
        "swath:class_pixels": class_pixels,
        "swath:seams": seams.model_dump(),
        "swath:simplified": simplify,
    }
    item.properties |= made_by(bundle) | provenance.properties()
    if len(bundles) > 1:
        item.properties["swath:ensemble"] = [one.uri for one in bundles]
        item.properties["swath:ensemble_sha256"] = [one.digest for one in bundles]
    kind = pystac.MediaType.GEOJSON if raster.mask else pystac.MediaType.GEOTIFF
    item.add_link(pystac.Link("derived_from", raster.source, kind, f"Image {raster.id}"))
    for one in bundles:
        name = {MODEL_NAME: one.contract.project}
        href = (one.folder / MLM).resolve().as_posix()
        item.add_link(pystac.Link("derived_from", href, pystac.MediaType.GEOJSON, f"Model {one.name}", name))
    write_json(folder / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))


def made_by(bundle: Bundle) -> dict[str, Any]:
    """Properties that name the model, its data and its code."""
    contract: Contract = bundle.contract
    return {
        "swath:project": contract.project,
        "swath:model": bundle.uri,
        "swath:model_version": bundle.version,
        "swath:model_sha256": bundle.digest,
        "swath:dataset": contract.revision.dataset,
        "swath:commit": contract.revision.commit,
    }


def tags(properties: Mapping[str, Any]) -> dict[str, str]:
    """Those of an item's ``properties`` that are words, as tags of each raster, for one that loses its item."""
    words = {name: value for name, value in properties.items() if isinstance(value, str | int)}
    return {name.replace(":", "_").upper(): str(value) for name, value in words.items()}


def map_item(
    folder: Path, id: str, grid: Grid, when: datetime, layers: Sequence[Layer], classes: Sequence[LabelClass]
) -> pystac.Item:
    """An item with the place, the grid and the files of the map in ``folder``."""
    geometry, bbox = footprint(grid.crs, grid.affine, grid.width, grid.height, id)
    item = pystac.Item(id, geometry, list(bbox), when, properties={})
    item.stac_extensions = list(_EXTENSIONS)
    item.properties |= {
        "proj:code" if re.fullmatch(r"\w+:\w+", grid.crs) else "proj:wkt2": grid.crs,
        "proj:shape": [grid.height, grid.width],
        "proj:transform": list(grid.affine)[:6],
    }
    for layer in layers:
        band: dict[str, Any] = {"nodata": NODATA, "data_type": "uint8"}
        if layer.scale is not None:
            band |= {"scale": layer.scale, "offset": 0.0}
        fields = {"raster:bands": [band | {"name": name} for name in layer.bands]}
        if layer.file == CLASSES:
            fields["classification:classes"] = legend(classes)
        item.assets[Path(layer.file).stem] = _asset(folder / layer.file, layer.title, _COG, fields)
    if (objects := folder / OBJECTS).exists():
        item.assets["objects"] = _asset(objects, "Objects with their scores", "application/vnd.apache.parquet", {})
        other = folder / OBJECTS_FLATGEOBUF
        item.assets["objects_flatgeobuf"] = _asset(other, "Objects with their scores", "application/vnd.flatgeobuf", {})
    if (polygons := folder / POLYGONS).exists():
        item.assets["polygons"] = _asset(polygons, "Classes as polygons", "application/vnd.apache.parquet", {})
        item.assets["flatgeobuf"] = _asset(folder / FLATGEOBUF, "Classes as polygons", "application/vnd.flatgeobuf", {})
    return item


def legend(classes: Sequence[LabelClass]) -> list[dict[str, Any]]:
    """The classes as the STAC classification extension writes them."""
    return [
        {"value": i, "name": slug, "description": c.name, "color_hint": c.color.lstrip("#").upper()}
        for i, (c, slug) in enumerate(zip(classes, slugs(classes), strict=True))
    ] + [{"value": NODATA, "name": "nodata", "description": "No data, cloud or shadow", "nodata": True}]


def is_map_of(
    folder: Path, image: str, mask: str | None, model: str, also: Sequence[Also] = (), simplify: float = 0.0
) -> bool:
    """Whether ``folder`` holds a map of these bytes by the bundle ``model``, by their checksums, with all that ``also``
    asks for."""
    if not (path := folder / ITEM).exists():
        return False
    item = read_json(path)
    properties = item["properties"]
    made_of = tuple(properties[f"swath:{name}_sha256"] for name in ("source", "mask", "model"))
    if made_of != (image, mask, model):
        return False
    return set(also) <= set(item["assets"]) and ("polygons" not in also or properties["swath:simplified"] == simplify)


def hectares(folder: Path, model: str) -> dict[str, float]:
    """Area of each class on the map in ``folder``, on the ground. Raises ``BadData`` if another model made it, or this
    one and others together, whose errors are not those of its test.

    A pixel counts as the mean one of its strip of rows, on the WGS 84 ellipsoid: in degrees and on a Mercator map they
    shrink towards the poles.
    """
    if not (folder / ITEM).is_file():
        raise BadData(f"{folder} is no map: it has no {ITEM}.")
    item = pystac.Item.from_dict(read_json(folder / ITEM))
    if item.properties["swath:model_sha256"] != model:
        raise BadData(f"{folder} was made by {item.properties['swath:model']}, another model than the one named.")
    if "swath:ensemble_sha256" in item.properties:
        raise BadData(f"{folder} was made by several models together, and the errors of one say nothing about theirs.")
    shown = item.assets["classes"].extra_fields["classification:classes"]
    names = [one["description"] for one in sorted(shown, key=lambda one: one["value"]) if not one.get("nodata")]
    found = np.zeros(len(names))
    with rasterio.open(folder / CLASSES) as source:
        for top in range(0, source.height, _STRIP):
            strip = Window(0, top, source.width, min(_STRIP, source.height - top))
            outline, _ = footprint(source.crs, source.window_transform(strip), strip.width, strip.height, item.id)
            ground = abs(Geod(ellps="WGS84").geometry_area_perimeter(shape(outline))[0]) / 10_000
            pixels = np.bincount(source.read(1, window=strip).ravel(), minlength=256)[: len(names)]
            found += pixels * ground / (strip.width * strip.height)
    return dict(zip(names, found.tolist(), strict=True))


def require_room(target: Path, inputs: Iterable[Path]) -> None:
    """Raise ``BadData`` unless a map may take the place of what is at ``target``: nothing, or a former map; and none of
    ``inputs`` lies in it."""
    place = target.resolve()
    if place.exists() and not (place / ITEM).is_file() and not (place.is_dir() and not any(place.iterdir())):
        raise BadData(f"{target} holds something that is no map, and a map would replace it; name another folder.")
    if within := [path for path in inputs if path.resolve().is_relative_to(place)]:
        raise BadData(f"The map in {target} would replace {within[0]}, of which it is made; name another folder.")


def require_apart(folders: Sequence[Path]) -> None:
    """Raise ``BadData`` where maps show the same ground, which would count more than once. Slivers along the borders of
    neighbours, a hundredth of a map, do not matter."""
    outlines = [shape(read_json(folder / ITEM)["geometry"]) for folder in folders]
    for one, other in STRtree(outlines).query(outlines, predicate="intersects").T:
        if one < other and outlines[one].intersection(outlines[other]).area > _SLIVER * min(
            outlines[one].area, outlines[other].area
        ):
            raise BadData(
                f"{folders[one]} and {folders[other]} show the same ground, which would count twice; join maps of one "
                "date with `swath mosaic` first, and name no second date."
            )


def _asset(path: Path, title: str, media_type: str, fields: dict[str, Any]) -> pystac.Asset:
    found = {"file:checksum": f"1220{sha256(path)}", "file:size": path.stat().st_size} | fields
    return pystac.Asset(f"./{path.name}", title, media_type=media_type, roles=["data"], extra_fields=found)
