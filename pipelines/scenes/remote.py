"""Reading rasters wherever they lie: GDAL's settings for the network, safe hrefs, and errors told apart."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from pipelines.errors import BadData, SwathError
from pipelines.scenes.candidate import public

_NETWORK = re.compile(
    r"\bCURL\b|HTTP (?:error|response) code ?: ?(?:0|401|403|408|429|5\d\d)|timed? ?out|resolve host|connect"
    r"|InvalidCredentials|AccessDenied|SlowDown",
    re.IGNORECASE,
)
_DRIVERS = {".jp2": "JP2OpenJPEG", ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
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


def is_remote(href: str) -> bool:
    return urlsplit(href).scheme in ("http", "https", "s3")


def gdal_path(href: str) -> str:
    """The name by which GDAL opens ``href``: an http(s) or s3 address, or an existing local file.

    Raises ``BadData`` for anything else, among it GDAL's own virtual paths, which could reach other files.
    """
    parts = urlsplit(href)
    if parts.scheme in ("http", "https"):
        return f"/vsicurl/{href}"
    if parts.scheme == "s3":
        return f"/vsis3/{parts.netloc}{parts.path}"
    path = Path(href.removeprefix("file://"))
    if href.startswith("/vsi") or not path.is_file():
        raise BadData(f"{href} is not a file; correct the href at the source.")
    return str(path)


@contextmanager
def opened(href: str) -> Iterator[Any]:
    """The raster at ``href``, open for reading. Raises as ``explained`` does, on opening only.

    The format is fixed by the name, never guessed: GDAL would also open a VRT, which can name any other file or
    address as its source.
    """
    driver = _DRIVERS.get(PurePosixPath(urlsplit(href).path).suffix.lower(), "GTiff")
    with explained(href), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # refused, or placed, by whoever asked
        dataset = rasterio.open(gdal_path(href), driver=driver)
    with dataset:
        yield dataset


@contextmanager
def explained(href: str) -> Iterator[None]:
    """Turn GDAL's errors about ``href`` into ``SwathError`` if trying again may help, into ``BadData`` if not."""
    try:
        yield
    except RasterioError as error:
        messages = " ".join(_chain(error))
        if is_remote(href) and (_NETWORK.search(messages) or not _answers(href)):
            raise SwathError(f"{public(href)} could not be read over the network ({messages}); try again.") from error
        raise BadData(
            f"{public(href)} cannot be read as a GeoTIFF or JPEG 2000; it may be cut short or damaged ({messages})."
        ) from error


def _chain(error: BaseException) -> list[str]:
    messages = []
    current: BaseException | None = error
    while current is not None:
        messages.append(re.sub(r"\?[^\s'\"]*", "", str(current)))  # a query may hold a signature
        current = current.__cause__ or current.__context__
    return list(dict.fromkeys(messages))


def _answers(href: str) -> bool:
    """Whether the server gives the file's first byte, or says for good that there is none."""
    if urlsplit(href).scheme == "s3":
        return True
    try:
        status = httpx.get(href, headers={"Range": "bytes=0-0"}, timeout=30, follow_redirects=True).status_code
    except httpx.HTTPError:
        return False
    return status < 400 or status in (404, 410, 416)
