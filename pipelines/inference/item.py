"""The STAC item of a map: which model made it, from which data and code, of which image."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

from pipelines.bundle.contract import Contract
from pipelines.bundle.store import Bundle
from pipelines.files import read_json, sha256, write_json
from pipelines.inference.polygons import POLYGONS
from pipelines.inference.raster import Raster
from pipelines.inference.writer import CLASSES, CONFIDENCE, NODATA, PERCENT
from pipelines.scenes.footprint import footprint

ITEM = "item.json"
_EXTENSIONS = [
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
]
_COG = pystac.MediaType.COG


def write_item(folder: Path, raster: Raster, bundle: Bundle, class_pixels: dict[str, int]) -> None:
    """Write ``item.json`` over the maps in ``folder``."""
    contract = bundle.contract
    geometry, bbox = footprint(raster.crs, raster.affine, raster.width, raster.height, raster.id)
    # A file that does not say when it was taken is dated by its last change, and the item says so.
    when = raster.when or datetime.fromtimestamp(Path(raster.image).stat().st_mtime, UTC)
    item = pystac.Item(raster.id, geometry, list(bbox), when.astimezone(UTC), properties={})
    item.stac_extensions = list(_EXTENSIONS)
    item.properties |= {
        "title": f"Classes of {raster.id} by {bundle.name}",
        "swath:project": contract.project,
        "swath:model": bundle.uri,
        "swath:model_version": bundle.version,
        "swath:model_sha256": bundle.digest,
        "swath:dataset": contract.revision.dataset,
        "swath:commit": contract.revision.commit,
        "swath:source_sha256": raster.sha256,
        "swath:mask_sha256": raster.mask_sha256,
        "swath:dated": raster.when is not None,
        "swath:class_pixels": class_pixels,
        "proj:code" if raster.crs.startswith("EPSG:") else "proj:wkt2": raster.crs,
        "proj:shape": [raster.height, raster.width],
        "proj:transform": list(raster.transform),
    }
    item.assets = {
        "classes": _asset(
            folder / CLASSES, "Classes", _COG, {"nodata": NODATA, "data_type": "uint8"}, legend(contract)
        ),
        "confidence": _asset(
            folder / CONFIDENCE,
            "Probability of the class",
            _COG,
            {"nodata": NODATA, "data_type": "uint8", "scale": PERCENT, "offset": 0.0},
        ),
    }
    if (polygons := folder / POLYGONS).exists():
        item.assets["polygons"] = _asset(polygons, "Classes as polygons", "application/vnd.apache.parquet")
    item.add_link(pystac.Link("derived_from", raster.source, title=f"Image {raster.id}"))
    write_json(folder / ITEM, item.to_dict(include_self_link=False, transform_hrefs=False))


def legend(contract: Contract) -> list[dict[str, Any]]:
    """The classes as the STAC classification extension writes them."""
    return [
        {"value": i, "name": c.name, "description": c.name, "color_hint": c.color.lstrip("#").upper()}
        for i, c in enumerate(contract.classes)
    ] + [{"value": NODATA, "name": "nodata", "description": "No data, cloud or shadow", "nodata": True}]


def mapped_from(folder: Path) -> tuple[str, str | None] | None:
    """Checksums of the image and mask that the maps in ``folder`` were made from; ``None`` where there are none."""
    if not (path := folder / ITEM).exists():
        return None
    properties = read_json(path)["properties"]
    return properties["swath:source_sha256"], properties["swath:mask_sha256"]


def _asset(
    path: Path,
    title: str,
    media_type: str,
    band: dict[str, Any] | None = None,
    classes: list[dict[str, Any]] | None = None,
) -> pystac.Asset:
    fields: dict[str, Any] = {"file:checksum": f"1220{sha256(path)}", "file:size": path.stat().st_size}
    if band:
        fields["raster:bands"] = [band]
    if classes:
        fields["classification:classes"] = classes
    return pystac.Asset(f"./{path.name}", title, media_type=media_type, roles=["data"], extra_fields=fields)
