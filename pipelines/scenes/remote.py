"""Reading rasters wherever they lie: GDAL's settings for the network, formats by name, and errors told apart."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]
import httpx
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from pipelines.errors import BadData, SwathError
from pipelines.scenes.candidate import public
from pipelines.scenes.egress import REFUSED
from pipelines.scenes.links import Links, is_remote

log = logging.getLogger(__name__)

_LARGEST = 2**33  # bytes of a file that is fetched whole to see whether it is damaged
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
    elif not is_remote(href):
        if Path(f"{path}.msk").exists():
            raise BadData(
                f"{path} has its mask in a file beside it, {Path(path).name}.msk, which is not read; write the two "
                "into one by `gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES`."
            )
    else:
        path = f"/vsicurl/{links.address(href)}"
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
        said = messages.replace(href.partition("?")[0].removeprefix("s3://"), "")  # an address may hold any word
        if is_remote(href) and _REFUSED.search(said):
            raise BadData(
                f"{public(href)} may not be read: {_refusal(href, links)}. Correct the link, or name the host in "
                "SWATH_LINKS if it is yours."
            ) from error
        if is_remote(href) and (_NETWORK.search(said) or not _is_at_fault(href, links)):
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


def _is_at_fault(href: str, links: Links) -> bool:
    """Whether there is no such file, or one that cannot be read even where it came whole. GDAL does not tell that from
    a download that broke off, which says nothing against the scene."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / PurePosixPath(urlsplit(href).path).name
        try:
            if not (_from_s3 if href.startswith("s3://") else _from_http)(href, links, copy):
                return True
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):  # redirected to what nobody reads
            return True
        except Exception as error:  # botocore's errors have no common base
            log.warning("%s did not come whole: %s: %s", public(href), type(error).__name__, error)
            return False
        try:
            with rasterio.open(copy, driver=driver_of(copy.name)) as dataset:
                for _, window in dataset.block_windows(1):
                    dataset.read(window=window)
        except RasterioError:
            return True
    return False


def _from_http(href: str, links: Links, target: Path) -> bool:
    """Copy the whole file to ``target``; False where the server says for good that there is none. Raises
    ``httpx.HTTPError`` where less comes than was announced."""
    with (
        httpx.stream("GET", links.address(href), timeout=30, follow_redirects=True, proxy=links.proxy) as answer,
        target.open("wb") as out,
    ):
        if answer.status_code in (404, 410):
            return False
        answer.raise_for_status()
        for part in answer.iter_bytes():
            out.write(part)
            if out.tell() > _LARGEST:
                raise SwathError(f"{public(href)} is larger than what is fetched whole to see whether it is damaged.")
    return True


def _from_s3(href: str, links: Links, target: Path) -> bool:
    try:
        s3_store().get_file(href, str(target))
    except FileNotFoundError:
        return False
    return True


def s3_store() -> Any:
    """The S3 store of the environment, with no listing and no credentials of an earlier call."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    anonymous = os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "1")
    fresh = {"use_listings_cache": False, "skip_instance_cache": True}
    return fsspec.filesystem("s3", anon=anonymous, endpoint_url=endpoint, **fresh)


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
    address = links.address(href)
    return httpx.stream("GET", address, headers=first, timeout=30, follow_redirects=True, proxy=links.proxy)
