"""Candidates from a STAC API or a static STAC catalog."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac
import requests
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3 import Retry

from pipelines.config.params import CloudMask, Scenes
from pipelines.errors import BadData, SwathError
from pipelines.scenes.area import Bounds, intersects, parts
from pipelines.scenes.candidate import Candidate, Quantity, Refused, baseline_in, digest, legible, public
from pipelines.scenes.dates import Dates
from pipelines.scenes.egress import REFUSED
from pipelines.scenes.links import Links, is_remote

_RETRY = Retry(total=4, backoff_factor=1, status_forcelist=[429, 502, 503, 504], allowed_methods=None)
_MEANING = ("raster:bands", "bands", "scale", "offset", "raster:scale", "raster:offset")  # of the pixels of an asset
_BASELINES = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_DEPTH = 32  # catalogs within catalogs
_RASTERS = ("image/tiff", "image/geotiff", "image/jp2")


# What reading a document that is not what it should be raises, in the libraries and here.
_BROKEN = (
    pystac.STACError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


def candidates(scenes: Scenes, area: Bounds | None, dates: Dates) -> Iterator[Candidate | Refused]:
    """What the catalog at ``scenes.source`` offers within area, dates and cloud cover.

    Raises ``SwathError`` if the catalog does not answer, ``BadData`` if it is none, if it refuses what is asked, or if
    an API is asked for everything that it has.
    """
    links = Links.of(scenes.source)
    root = _opened(scenes.source, links)
    if isinstance(root, Client) and root.conforms_to("ITEM_SEARCH"):
        if area is None and dates.interval() is None and not scenes.collections:
            raise BadData(
                f"The STAC API at {_host(scenes.source)} would be asked for all that it has; set collections, dates or "
                "area in params.scenes."
            )
        found = _searched(root, scenes, area, dates)
    else:
        found = _walked(root, links)
    for entry in found:
        taken = entry if isinstance(entry, Refused) else _taken(entry, scenes, area, dates, links)
        if taken is not None:
            yield taken


class _Documents(StacApiIO):
    """Reads the documents of a catalog from where its links may lead."""

    def __init__(self, links: Links) -> None:
        super().__init__(timeout=(20, 120), max_retries=_RETRY)
        self._links = links
        if links.proxy:
            self.session.proxies = {"http": links.proxy, "https": links.proxy}

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        if isinstance(source, pystac.Link) or is_remote(str(source)):
            return super().read_text(source, *args, **kwargs)
        return Path(self._links.checked(str(source))).read_text(encoding="utf-8")


def _opened(source: str, links: Links) -> pystac.STACObject:
    io = _Documents(links)
    try:
        if not is_remote(source):
            if not Path(source).is_file():
                raise BadData(f"The STAC catalog {source} does not exist; correct params.scenes.source.")
            return pystac.read_file(str(Path(source).resolve()), stac_io=io)
        root = pystac.read_file(source, stac_io=io)
        if isinstance(root, pystac.Catalog) and "conformsTo" in root.extra_fields:
            return Client.open(source, stac_io=io)
        return root
    except (APIError, requests.RequestException) as error:
        raise _unanswered(source, error) from error
    except OSError as error:
        raise BadData(f"{source} cannot be read ({error}); correct params.scenes.source.") from error
    except _BROKEN as error:
        raise BadData(f"{public(source)} is no STAC catalog ({error}); correct params.scenes.source.") from error


def _searched(client: Client, scenes: Scenes, area: Bounds | None, dates: Dates) -> Iterator[pystac.Item | Refused]:
    asked: dict[str, Any] = {
        "collections": list(scenes.collections) or None,
        "datetime": dates.interval(),
        "limit": 100,
    }
    seen = set[tuple[str, str]]()  # an item may lie on both sides of the antimeridian, or move to the next page
    try:
        for box in parts(area) if area else [None]:  # some servers refuse a box over it, which the standard allows
            for document in client.search(bbox=box, method="GET", **asked).items_as_dicts():
                key = (str(document.get("collection")), str(document.get("id")))
                if "id" not in document or key not in seen:
                    yield _item(document, client)
                seen.add(key)
    except (APIError, requests.RequestException) as error:
        raise _unanswered(scenes.source, error) from error


def _item(document: dict[str, Any], client: Client) -> pystac.Item | Refused:
    try:
        return pystac.Item.from_dict(document, root=client, preserve_dict=False)
    except _BROKEN as error:
        id, href = str(document.get("id")), f"{public(client.self_href)} item {document.get('id')}"
        return _refused(id, href, _invalid("The item", error), document)


def _walked(root: pystac.STACObject, links: Links) -> Iterator[pystac.Item | Refused]:
    """Items below ``root``; a link that cannot be followed is refused and the walk goes on."""
    if isinstance(root, pystac.Item):
        yield root
        return
    seen, entered = {str(root.self_href)}, [_below(root, links)]
    while entered:
        found = next(entered[-1], None)
        if found is None:
            entered.pop()
        elif isinstance(found, pystac.Item | Refused):
            yield found
        elif (own := str(found.self_href)) not in seen:
            seen.add(own)
            if len(entered) < _DEPTH:
                entered.append(_below(found, links))
            else:
                reason = f"{public(own)} lies {_DEPTH} catalogs deep and is not entered; flatten the catalog."
                yield _refused(public(own), public(own), reason, own)


def _below(node: pystac.STACObject, links: Links) -> Iterator[pystac.STACObject | Refused]:
    """What the links of a catalog lead to, one level down."""
    for link in node.get_links():
        if link.rel not in (pystac.RelType.ITEM, pystac.RelType.CHILD):
            continue
        href = str(link.absolute_href)
        try:
            links.checked(href)
            target = link.resolve_stac_object(root=node.get_root()).target
        except BadData as error:
            reason = str(error)
        except _BROKEN as error:
            cause = error.__cause__
            if cause and _is_silent(cause) and urlsplit(href).netloc == urlsplit(str(node.self_href)).netloc:
                raise _unanswered(href, cause) from error
            reason = _invalid(public(href), error)
        else:
            if isinstance(target, pystac.STACObject):
                yield target
            continue
        yield _refused(public(href), public(href), reason, _content(href, reason))


def _wanted(item: pystac.Item, scenes: Scenes, area: Bounds | None, dates: Dates) -> bool:
    if scenes.collections and item.collection_id not in scenes.collections:
        return False
    cloud = item.properties.get("eo:cloud_cover")
    if isinstance(cloud, int | float) and cloud > scenes.max_cloud:
        return False
    when, end = _when(item), item.common_metadata.end_datetime
    if when is not None and item.datetime is None and end is not None:  # a composite: of a time that meets the dates
        return dates.meet(when, _aware(end)) and intersects(area, item.geometry)
    return (when is None or dates.hold(when)) and intersects(area, item.geometry)


def _taken(
    item: pystac.Item, scenes: Scenes, area: Bounds | None, dates: Dates, links: Links
) -> Candidate | Refused | None:
    """None for an item that is not asked for."""
    try:
        return _candidate(item, scenes, links) if _wanted(item, scenes, area, dates) else None
    except BadData as error:
        reason = str(error)
    except _BROKEN as error:
        reason = _invalid("The item", error)
    source = str(item.self_href or scenes.source)
    return _refused(str(item.id), public(source), reason, [source, item.properties, reason])


def _candidate(item: pystac.Item, scenes: Scenes, links: Links) -> Candidate:
    properties = item.properties
    assets = [_asset(item, key) for key in scenes.assets] or [_only_raster(item, scenes.cloud_mask)]
    mask = _classes(item, scenes.cloud_mask)
    when = _when(item)
    if when is None:
        raise BadData("The item has neither datetime nor start_datetime; state one at the source.")
    files = [*assets, mask] if mask else assets
    baseline = next((str(properties[k]) for k in _BASELINES if properties.get(k) is not None), None)
    flag = next((properties[k] for k in _FLAGS if isinstance(properties.get(k), bool)), None)
    cloud = properties.get("eo:cloud_cover")
    return Candidate(
        id=item.id,
        datetime=when,
        source=public(item.self_href or scenes.source),
        hrefs=tuple(_href(asset, links) for asset in assets),
        mask=_href(mask, links) if mask else None,
        baseline=baseline or baseline_in(item.id),
        offset_applied=flag,
        quantities=tuple(_quantity(asset) for asset in assets),
        place=_place(item, assets[0]) if scenes.stack else "",
        cloud_cover=float(cloud) if scenes.stack and isinstance(cloud, int | float) else None,
        fingerprint=digest([properties, [_content(_href(a, links), a.to_dict()) for a in files]]),
    )


def _place(item: pystac.Item, image: pystac.Asset) -> str:
    """The grid by the projection extension, else the tile by the grid extension, else the footprint."""
    fields = item.properties | image.extra_fields
    if fields.get("proj:transform"):
        code = fields.get("proj:code") or fields.get("proj:epsg")
        return digest([code, [float(number) for number in fields["proj:transform"]][:6], fields.get("proj:shape")])
    return str(fields.get("grid:code") or digest(item.geometry))


def _when(item: pystac.Item) -> datetime | None:
    when = item.datetime or item.common_metadata.start_datetime
    return None if when is None else _aware(when)


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _asset(item: pystac.Item, key: str) -> pystac.Asset:
    if key not in item.assets:
        raise BadData(f"The item has no asset {key!r} but {sorted(item.assets)}; correct params.scenes or the item.")
    return item.assets[key]


def _classes(item: pystac.Item, wanted: CloudMask) -> pystac.Asset | None:
    """The asset that the cloud mask is made of; None where none is wanted, or where a model stands in for it."""
    if wanted.asset is None or (wanted.model and wanted.asset not in item.assets):
        return None
    asset = _asset(item, wanted.asset)
    described = [asset.extra_fields, *(asset.extra_fields.get("raster:bands") or asset.extra_fields.get("bands") or [])]
    if not wanted.bits and any("classification:bitfields" in one for one in described if isinstance(one, dict)):
        raise BadData(
            f"The asset {wanted.asset} packs several facts into the bits of a number, and cloud_mask.cloud and shadow "
            "name whole numbers; set cloud_mask.bits: true, and name bits in them, from 0."
        )
    return asset


def _only_raster(item: pystac.Item, cloud_mask: CloudMask) -> pystac.Asset:
    others = {k: a for k, a in item.assets.items() if k != cloud_mask.asset}
    rasters = {k: a for k, a in others.items() if (a.media_type or "").startswith(_RASTERS)} or others
    data = {k: a for k, a in rasters.items() if "data" in (a.roles or [])} or rasters
    if len(data) != 1:
        raise BadData(f"The item has the rasters {sorted(data)}; name in params.scenes.assets that of the image.")
    return next(iter(data.values()))


def _href(asset: pystac.Asset, links: Links) -> str:
    href = asset.get_absolute_href()
    if href is None:
        raise BadData(f"The asset href {asset.href!r} is relative, and its item says not to what; correct the item.")
    links.checked(href)
    return href


def _quantity(asset: pystac.Asset) -> Quantity | None:
    """Scale and offset of an asset's first band, as STAC 1.0 (raster:bands) or 1.1 (bands) writes them."""
    fields = asset.extra_fields
    first = ((fields.get("raster:bands") or [{}])[0], (fields.get("bands") or [{}])[0], fields)
    for scale, offset in (("scale", "offset"), ("raster:scale", "raster:offset")):
        for holder in first:
            if isinstance(holder, dict) and (scale in holder or offset in holder):
                try:
                    return Quantity(scale=float(holder.get(scale, 1)), offset=float(holder.get(offset, 0)))
                except (TypeError, ValueError):
                    raise BadData(
                        f"An asset states scale {holder.get(scale)!r}; it must be a number; correct the item."
                    ) from None
    return None


def _content(href: str, described: Any) -> Any:
    """What tells that the bytes at ``href`` or their meaning changed: of a local file its size and time, and scale and
    offset, of another what the item says of it."""
    try:
        status = None if is_remote(href) else Path(href).stat()
    except (OSError, ValueError):
        status = None
    if status is not None:
        meaning = {k: v for k, v in described.items() if k in _MEANING} if isinstance(described, dict) else {}
        return [status.st_size, status.st_mtime_ns, *([meaning] if meaning else [])]
    if isinstance(described, dict):
        return [public(href), {k: v for k, v in described.items() if k not in ("href", "alternate")}]
    return [public(href), described]


def _status(error: BaseException) -> int | None:
    """What a server answered with; pystac-client's error has no such attribute where none answered."""
    return getattr(error, "status_code", None) if isinstance(error, APIError) else None


def _is_silent(error: BaseException) -> bool:
    """Whether a server did not answer, or may answer otherwise when it is asked again."""
    status = _status(error)
    return isinstance(error, APIError | requests.RequestException) and status in (None, 408, 425, 429, *range(500, 600))


def _refused(id: str, source: str, reason: str, described: Any) -> Refused:
    return Refused(id=legible(id), source=legible(source), reason=legible(reason), fingerprint=digest(described))


def _invalid(what: str, error: BaseException) -> str:
    cause = error.__cause__ or error  # pystac says of what it meets on a link only that it met something
    if isinstance(cause, APIError):
        if _status(cause) == REFUSED:
            return (
                f"{what} leads to no public address; correct the link, or name its host in SWATH_LINKS if it is yours."
            )
        return f"{what} cannot be read (status {_status(cause)} {str(cause)[:200]}); correct the link at the source."
    return f"{what} is not valid STAC ({type(cause).__name__}: {str(cause)[:200]}); correct it at the source."


def _unanswered(source: str, error: BaseException) -> SwathError:
    """What is wrong where a server did not answer, or answered that it will not."""
    status = _status(error)
    if _is_silent(error):  # an error's own words may hold the whole address, a signature included
        why = f"status {status}" if status else type(error.__context__ or error).__name__
        return SwathError(f"The STAC catalog at {_host(source)} did not answer ({why}); try again.")
    said = legible(" ".join(str(error).split())[:300])
    return BadData(
        f"The STAC catalog at {_host(source)} refuses what it is asked (status {status}: {said}); correct source, "
        "collections, area or dates in params.scenes. Sources that need a token are not read."
    )


def _host(source: str) -> str:
    return urlsplit(source).hostname or source
