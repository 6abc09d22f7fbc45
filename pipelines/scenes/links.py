"""Where a source's links may lead: what a catalog says is not what may be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Self
from urllib.parse import unquote, urlsplit

from pipelines.config.settings import settings
from pipelines.errors import BadData, SwathError
from pipelines.scenes.candidate import public
from pipelines.scenes.egress import proxy, unguarded

_LEFT = 900  # seconds that a token must last at least, for the scene that is read with it
_PATIENCE = 60  # seconds to wait for one
_PORTS = {"http": 80, "https": 443}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


@dataclass(frozen=True)
class Links:
    """What may be read on behalf of one source. ``SWATH_LINKS`` adds hosts and folders."""

    remote: bool  # whether the source is; then no link may lead to a file of this machine
    hosts: tuple[str, ...]  # that may be on a private network: the source's own, and those of SWATH_LINKS
    folders: tuple[Path, ...] | None  # that files must lie in; None for files that were found by listing a folder
    signed: bool = False  # whether files are read by addresses that the Planetary Computer signs

    @classmethod
    def of(cls, source: str, sign: str | None = None) -> Self:
        """For ``params.scenes.source`` and ``sign``."""
        more = settings().links
        hosts = tuple(one for one in more if not one.startswith("/"))
        folders = tuple(Path(one).resolve() for one in more if one.startswith("/"))
        if is_remote(source):
            parts = urlsplit(source)
            if parts.scheme in _PORTS:
                hosts += (f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}",)
            return cls(True, hosts, folders, sign is not None)
        catalog = Path(source).is_file()
        return cls(False, hosts, (Path(source).resolve().parent, *folders) if catalog else None, sign is not None)

    @property
    def proxy(self) -> str | None:
        """What http(s) is read through, which refuses addresses that are not allowed; None: the environment's own."""
        return proxy(self.hosts)

    def checked(self, href: str) -> str:
        """``href`` if it is an http(s) or s3 address, else the path of the local file that it names.

        Raises ``BadData`` for anything else, among it GDAL's own virtual paths, which could reach other files, and for
        files outside of the allowed folders.
        """
        if is_remote(href):
            self._check(href)
            return href
        name = unquote(href.removeprefix("file://")) if href.startswith("file://") else href
        if self.remote:
            raise BadData(f"{href[:200]!r} in a remote catalog is no http(s) or s3 address; correct the item.")
        try:
            path = Path(name).resolve()
            found = not name.startswith("/vsi") and path.is_file()
        except (OSError, ValueError):  # too long, or no name that a file could have
            found = False
        if not found:
            raise BadData(f"{href[:200]!r} is not a file; correct the href at the source.")
        if self.folders is not None and not any(path.is_relative_to(folder) for folder in self.folders):
            raise BadData(
                f"{href[:200]!r} lies outside of the catalog's own folder; move it there, or name its folder in "
                "SWATH_LINKS."
            )
        return str(path)

    def address(self, href: str) -> str:
        """What the remote file ``href`` is read by: itself, or with a token that lasts a quarter of an hour at least.

        Raises ``SwathError`` where no token can be had.
        """
        return _signed(href) if self.signed else href

    def _check(self, href: str) -> None:
        scheme, _, rest = href.partition("://")
        if scheme.casefold() == "s3" and not _BUCKET.fullmatch(bucket := rest.partition("/")[0]):
            # GDAL makes a host name of it, which it would decode and cut short
            raise BadData(f"{bucket[:100]!r} in {href[:200]!r} is no name of a bucket; correct the link.")
        if (why := unguarded(href, self.hosts)) is not None:
            raise BadData(
                f"{href[:200]!r} may not be read: {why}. Correct the link, or name the host in SWATH_LINKS if it is "
                "yours."
            )


def _signed(href: str) -> str:
    from planetary_computer.sas import TOKEN_CACHE, sign_url

    for request, token in list(TOKEN_CACHE.items()):
        if token.ttl() < _LEFT:
            del TOKEN_CACHE[request]
    answers: list[str | BaseException] = []

    def ask() -> None:
        try:
            answers.append(sign_url(href))
        except Exception as error:
            answers.append(error)

    asking = Thread(target=ask, daemon=True)  # the package waits for ever
    asking.start()
    asking.join(_PATIENCE)
    answer = answers[0] if answers else TimeoutError()
    if isinstance(answer, str):
        return answer
    status = getattr(getattr(answer, "response", None), "status_code", type(answer).__name__)
    raise SwathError(
        f"The Planetary Computer gave no token for {public(href)} ({status}); try again, or set scenes.sign to null if "
        "the file is not of its catalog."
    ) from answer


def is_remote(href: str) -> bool:
    """Whether ``href`` has a scheme that leads off this machine and that can be read."""
    try:
        return urlsplit(href).scheme in ("http", "https", "s3")
    except ValueError:  # such as an IPv6 address without its bracket
        return False
