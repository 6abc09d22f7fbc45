"""Reading rasters wherever they lie: GDAL's settings for the network, formats by name, and errors told apart."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from pipelines.errors import BadData, SwathError
from pipelines.scenes.candidate import public
from pipelines.scenes.egress import REFUSED
from pipelines.scenes.links import Links, is_remote

_NETWORK = re.compile(
    r"\bCURL\b|HTTP (?:error|response) code ?: ?(?:0|401|403|408|429|5\d\d)|timed? ?out|resolve host|connect"
    r"|InvalidCredentials|AccessDenied|SlowDown",
    re.IGNORECASE,
)
_REFUSED = re.compile(rf"response (?:code: )?{REFUSED}\b")
_DRIVERS = {".jp2": "JP2OpenJPEG", ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".img": "HFA"}
_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing of the folder: one request less, and no side files
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",  # a COG's header and its first directory in one request
    "GDAL_CACHEMAX": 256 * 2**20,  # bytes
    "GDAL_NUM_THREADS": "1",
    "GTIFF_HONOUR_NEGATIVE_SCALEY": "NO",
}


@contextmanager
def gdal() -> Iterator[None]:
    """GDAL set up for range requests with retries, and for an S3 endpoint given as ``AWS_ENDPOINT_URL``."""
    options = dict(_OPTIONS)
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        parts = urlsplit(endpoint)
        options |= {"AWS_S3_ENDPOINT": parts.netloc, "AWS_VIRTUAL_HOSTING": "FALSE"}
        options["AWS_HTTPS"] = "YES" if parts.scheme == "https" else "NO"
    with rasterio.Env(**options):
        yield


def driver_of(name: str) -> str:
    """GDAL's driver for a file or address, by its ending: a GeoTIFF unless that says otherwise.

    Left to guess by content, GDAL would also open a VRT, which can name any other file or address as its source.
    """
    return _DRIVERS.get(PurePosixPath(name).suffix.lower(), "GTiff")


@contextmanager
def opened(href: str, links: Links) -> Iterator[Any]:
    """The raster at ``href``, open for reading. Raises as ``explained`` does, on opening only, and ``BadData`` where
    ``links`` do not let it be read.
    """
    path, options = links.checked(href), {}
    driver = driver_of(urlsplit(href).path if is_remote(href) else path)
    if href.startswith("s3://"):
        path = f"/vsis3/{href.removeprefix('s3://')}"
    elif is_remote(href):
        path = f"/vsicurl/{href}"
        options = {"GDAL_HTTP_PROXY": links.proxy} if links.proxy else {}  # s3 asks its machine for credentials
    with explained(href, links), warnings.catch_warnings(), rasterio.Env(**options):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # refused, or placed, by whoever asked
        dataset = rasterio.open(path, driver=driver)
    with dataset:
        yield dataset


@contextmanager
def explained(href: str, links: Links) -> Iterator[None]:
    """Turn GDAL's errors about ``href`` into ``SwathError`` if trying again may help, into ``BadData`` if not."""
    try:
        yield
    except RasterioError as error:
        messages = " ".join(_chain(error))
        if is_remote(href) and _REFUSED.search(messages):
            raise BadData(
                f"{public(href)} may not be read: {_refusal(href, links)}. Correct the link, or name the host in "
                "SWATH_LINKS if it is yours."
            ) from error
        if is_remote(href) and (_NETWORK.search(messages) or not _answers(href, links)):
            raise SwathError(f"{public(href)} could not be read over the network ({messages}); try again.") from error
        raise BadData(
            f"{public(href)} cannot be read as a GeoTIFF or JPEG 2000; it may be cut short or damaged ({messages}). "
            "Export it again at the source."
        ) from error


def _chain(error: BaseException) -> list[str]:
    messages = []
    current: BaseException | None = error
    while current is not None:
        messages.append(re.sub(r"\?[^\s'\"]*", "", str(current)))  # a query may hold a signature
        current = current.__cause__ or current.__context__
    return list(dict.fromkeys(messages))


def _answers(href: str, links: Links) -> bool:
    """Whether the server gives the file's first byte, or says for good that there is none."""
    if urlsplit(href).scheme == "s3":
        return True
    try:
        with _asked(href, links) as answer:
            return answer.status_code < 400 or answer.status_code in (404, 410, 416)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):  # redirected to what nobody reads
        return True
    except httpx.HTTPError:
        return False


def _refusal(href: str, links: Links) -> str:
    """Why the proxy opens no connection for ``href``, or for what it is redirected to."""
    try:
        with _asked(href, links) as answer:
            said = f"{answer.status_code} {answer.reason_phrase}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # one of the proxy has status and reason too
        said = str(error)
    status, _, reason = said.partition(" ")
    return reason if status == str(REFUSED) else "it leads to no public address"


def _asked(href: str, links: Links) -> AbstractContextManager[httpx.Response]:
    first = {"Range": "bytes=0-0"}
    return httpx.stream("GET", href, headers=first, timeout=30, follow_redirects=True, proxy=links.proxy)
