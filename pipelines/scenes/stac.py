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
from pipelines.scenes.area import Bounds, intersects
from pipelines.scenes.candidate import Candidate, Quantity, Refused, baseline_in, digest, public
from pipelines.scenes.dates import Dates
from pipelines.scenes.remote import is_remote

_RETRY = Retry(total=4, backoff_factor=1, status_forcelist=[429, 502, 503, 504], allowed_methods=None)
_BASELINES = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_RASTERS = ("image/tiff", "image/geotiff", "image/jp2")


def candidates(scenes: Scenes, area: Bounds | None, dates: Dates) -> Iterator[Candidate | Refused]:
    """What the catalog at ``scenes.source`` offers within area, dates and cloud cover.

    Raises ``SwathError`` if the catalog does not answer, ``BadData`` if it is none.
    """
    root = _opened(scenes.source)
    if isinstance(root, Client) and root.conforms_to("ITEM_SEARCH"):
        found = _searched(root, scenes, area, dates)
    else:
        found = _walked(root, set())
    for entry in found:
        if isinstance(entry, Refused):
            yield entry
        elif _wanted(entry, scenes, area, dates):
            yield _candidate(entry, scenes)


def _opened(source: str) -> pystac.STACObject:
    io = StacApiIO(timeout=(20, 120), max_retries=_RETRY)
    try:
        if not is_remote(source):
            return pystac.read_file(str(Path(source).resolve()))
        root = pystac.read_file(source, stac_io=io)
        if isinstance(root, pystac.Catalog) and "conformsTo" in root.extra_fields:
            return Client.open(source, stac_io=io)
        return root
    except (APIError, requests.RequestException) as error:
        raise _no_answer(source, error) from error
    except OSError as error:
        raise BadData(f"{source} cannot be read ({error}); correct params.scenes.source.") from error
    except (pystac.STACError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{public(source)} is no STAC catalog ({error}); correct params.scenes.source.") from error


def _searched(client: Client, scenes: Scenes, area: Bounds | None, dates: Dates) -> Iterator[pystac.Item | Refused]:
    search = client.search(
        collections=list(scenes.collections) or None, bbox=area, datetime=dates.interval(), limit=100, method="GET"
    )
    try:
        for document in search.items_as_dicts():
            yield _item(document, client)
    except (APIError, requests.RequestException) as error:
        raise _no_answer(scenes.source, error) from error


def _item(document: dict[str, Any], client: Client) -> pystac.Item | Refused:
    try:
        return pystac.Item.from_dict(document, root=client, preserve_dict=False)
    except (pystac.STACError, ValueError, KeyError, TypeError) as error:
        id, href = str(document.get("id")), f"{public(client.self_href)} item {document.get('id')}"
        reason = f"The item is not valid STAC ({type(error).__name__}: {error}); correct it at the source."
        return Refused(id=id, source=href, reason=reason, fingerprint=digest(document))


def _walked(node: pystac.STACObject, seen: set[str]) -> Iterator[pystac.Item | Refused]:
    """Items below ``node``; a link that cannot be followed is refused and the walk goes on."""
    if isinstance(node, pystac.Item):
        yield node
        return
    if (own := node.self_href) in seen:
        return
    seen.add(own)
    for link in node.get_links():
        if link.rel not in (pystac.RelType.ITEM, pystac.RelType.CHILD):
            continue
        href = str(link.absolute_href)
        try:
            if is_remote(own) and not is_remote(href):
                raise ValueError("a remote catalog may not point to a local file")
            target = link.resolve_stac_object(root=node.get_root()).target
        except (APIError, requests.RequestException) as error:
            raise _no_answer(href, error) from error
        except (pystac.STACError, OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{public(href)} is not valid STAC ({type(error).__name__}: {error}); correct it at the source."
            yield Refused(
                id=public(href), source=public(href), reason=reason, fingerprint=digest(_content(href, str(error)))
            )
            continue
        if isinstance(target, pystac.STACObject):
            yield from _walked(target, seen)


def _wanted(item: pystac.Item, scenes: Scenes, area: Bounds | None, dates: Dates) -> bool:
    if scenes.collections and item.collection_id not in scenes.collections:
        return False
    cloud = item.properties.get("eo:cloud_cover")
    if isinstance(cloud, int | float) and cloud > scenes.max_cloud:
        return False
    when = _when(item)
    return (when is None or dates.hold(when)) and intersects(area, item.geometry)


def _candidate(item: pystac.Item, scenes: Scenes) -> Candidate | Refused:
    source = public(item.self_href or scenes.source)
    properties = item.properties
    try:
        assets = [_asset(item, key) for key in scenes.assets] or [_only_raster(item)]
        mask = _classes(item, scenes.cloud_mask)
        when = _when(item)
        if when is None:
            raise BadData("The item has neither datetime nor start_datetime; state one at the source.")
        files = [*assets, mask] if mask else assets
        baseline = next((str(properties[k]) for k in _BASELINES if properties.get(k) is not None), None)
        flag = next((properties[k] for k in _FLAGS if isinstance(properties.get(k), bool)), None)
        return Candidate(
            id=item.id,
            datetime=when,
            source=source,
            hrefs=tuple(_href(asset, scenes.source) for asset in assets),
            mask=_href(mask, scenes.source) if mask else None,
            baseline=baseline or baseline_in(item.id),
            offset_applied=flag,
            quantities=tuple(_quantity(asset) for asset in assets),
            fingerprint=digest([properties, [_content(_href(a, scenes.source), a.to_dict()) for a in files]]),
        )
    except BadData as error:
        return Refused(id=item.id, source=source, reason=str(error), fingerprint=digest(item.to_dict(False, False)))


def _when(item: pystac.Item) -> datetime | None:
    when = item.datetime or item.common_metadata.start_datetime
    return when if when is None or when.tzinfo else when.replace(tzinfo=UTC)


def _asset(item: pystac.Item, key: str) -> pystac.Asset:
    if key not in item.assets:
        raise BadData(f"The item has no asset {key!r} but {sorted(item.assets)}; correct params.scenes or the item.")
    return item.assets[key]


def _classes(item: pystac.Item, wanted: CloudMask) -> pystac.Asset | None:
    """The asset that the cloud mask is made of; None where none is wanted, or where a model stands in for it."""
    if wanted.asset is None or (wanted.model and wanted.asset not in item.assets):
        return None
    return _asset(item, wanted.asset)


def _only_raster(item: pystac.Item) -> pystac.Asset:
    rasters = {k: a for k, a in item.assets.items() if (a.media_type or "").startswith(_RASTERS)} or item.assets
    data = {k: a for k, a in rasters.items() if "data" in (a.roles or [])} or rasters
    if len(data) != 1:
        raise BadData(f"The item has the rasters {sorted(data)}; name in params.scenes.assets the image's own.")
    return next(iter(data.values()))


def _href(asset: pystac.Asset, source: str) -> str:
    href = asset.get_absolute_href()
    if href is None:
        raise BadData(f"The asset href {asset.href!r} is relative, and its item says not to what; correct the item.")
    if is_remote(source) and not is_remote(href):
        raise BadData(f"The asset href {href!r} of a remote catalog is no http(s) or s3 address; correct the item.")
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
                    raise BadData(f"An asset states scale {holder.get(scale)!r}; it must be a number.") from None
    return None


def _content(href: str, described: Any) -> Any:
    """What tells that the bytes at ``href`` changed: size and time of a local file, else what the item says of it."""
    if not is_remote(href) and (path := Path(href)).is_file():
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]
    if isinstance(described, dict):
        return [public(href), {k: v for k, v in described.items() if k not in ("href", "alternate")}]
    return [public(href), described]


def _no_answer(source: str, error: Exception) -> SwathError:
    host = urlsplit(source).hostname or source
    return SwathError(f"The STAC catalog at {host} did not answer ({type(error).__name__}); try again.")
