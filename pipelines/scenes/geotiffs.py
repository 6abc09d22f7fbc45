"""Candidates from a folder or an S3 prefix of GeoTIFFs, one file a scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pipelines.config.params import Scenes
from pipelines.errors import BadData, SwathError
from pipelines.files import named
from pipelines.scenes.area import Bounds, intersects
from pipelines.scenes.candidate import Candidate, Refused, baseline_in, digest
from pipelines.scenes.dates import UNDATED, Dates, from_file
from pipelines.scenes.footprint import footprint
from pipelines.scenes.links import Links
from pipelines.scenes.remote import gdal, opened, s3_store

_ENDINGS = (".tif", ".tiff")
_PICTURES = (".jpg", ".jpeg", ".png")  # beside GeoTIFFs these are previews


def candidates(scenes: Scenes, area: Bounds | None, dates: Dates) -> Iterator[Candidate | Refused]:
    """The GeoTIFFs below ``scenes.source`` that meet area and dates; the id is the file's name without ending.

    A file that states no date anywhere is a candidate for any dates; it counts as taken on the first day of
    ``scenes.dates``, or on 2000-01-01 without those, and is marked as undated. Raises ``BadData`` where the parameters
    are for a STAC catalog, or where there is no folder.
    """
    if scenes.cloud_mask.asset and not scenes.cloud_mask.model:
        raise BadData(
            "GeoTIFFs have no cloud mask asset, as a STAC catalog's items do: set params.scenes.cloud_mask.asset to "
            f"null, or let params.scenes.source {scenes.source} name the catalog's own file."
        )
    links = Links.of(scenes.source)
    with gdal():
        for href, content in _files(scenes.source, _ENDINGS + (_PICTURES if scenes.unplaced else ())):
            yield from _candidate(href, content, scenes, area, dates, links)


def _candidate(
    href: str, content: list[Any], scenes: Scenes, area: Bounds | None, dates: Dates, links: Links
) -> Iterator[Candidate | Refused]:
    name, fingerprint = PurePosixPath(href).name, digest([href, content])
    try:
        footprint, tag, place = _header(href, links)
    except BadData as error:
        yield Refused(id=PurePosixPath(href).stem, source=href, reason=str(error), fingerprint=fingerprint)
        return
    when = from_file(tag, name)
    if (when and not dates.hold(when)) or not intersects(area, footprint):
        return
    stand_in = dates.of(scenes.dates).first or UNDATED
    yield Candidate(
        id=PurePosixPath(href).stem,
        datetime=when or stand_in,
        dated=when is not None,
        source=href,
        hrefs=(href,),
        baseline=baseline_in(name),
        place=place,
        fingerprint=fingerprint,
    )


def _header(href: str, links: Links) -> tuple[dict[str, Any] | None, str | None, str]:
    with opened(href, links) as dataset:
        tag = dataset.tags().get("TIFFTAG_DATETIME")
        if dataset.crs is None:
            return None, tag, ""  # fetching refuses it, with the reason
        place = digest([dataset.crs.to_string(), tuple(dataset.transform)[:6], dataset.shape])
        return footprint(dataset.crs, dataset.transform, dataset.width, dataset.height, href)[0], tag, place


def _files(source: str, endings: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
    """Each image with what tells that it changed, in the order of their names."""
    if source.startswith("s3://"):
        yield from _objects(source, endings)
        return
    folders = [path for path in named(source)[1] if path.is_dir()]
    if not folders:
        raise BadData(f"{source} is not a folder; correct params.scenes.source.")
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.lower() in endings and path.is_file():
            status = path.stat()
            yield str(path.absolute()), [status.st_size, status.st_mtime_ns]


def _objects(source: str, endings: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
    try:
        listed = s3_store().find(source, detail=True)
    except Exception as error:  # botocore's errors have no common base with OSError
        raise SwathError(f"{source} could not be listed ({type(error).__name__}: {error}); try again.") from error
    for key, details in sorted(listed.items()):
        if key.lower().endswith(endings):
            yield f"s3://{key}", [details["size"], details.get("ETag")]
