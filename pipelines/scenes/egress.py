"""The way out to what catalogs link to: a proxy on loopback that connects to allowed addresses and to no others.

GDAL looks names up and follows redirects by itself, so looking at a link before opening it says little. The proxy sees
every connection, looks the name up once, and connects to the very address that it has checked. It is a process of its
own, as GDAL may read while it holds Python's lock.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from socket import SOCK_STREAM
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

REFUSED = 470  # an HTTP status that no server uses
_HEAD = 2**16  # bytes of a request's head, at most
_PATIENCE = 20  # seconds to connect
_SCHEMES = ("http", "https")
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class Refusal(Exception):
    """Why no connection is opened."""


@cache
def proxy(hosts: tuple[str, ...]) -> str | None:
    """The address of a proxy that lets through to public addresses and to ``hosts``, names or ``name:port`` with
    wildcards. It ends with this process. None where the environment names a proxy, which then decides.
    """
    if _proxied():
        return None
    for name in ("no_proxy", "NO_PROXY"):  # curl would go around the proxy for what these name
        os.environ.pop(name, None)
    command = [sys.executable, "-m", __name__, json.dumps(hosts)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    atexit.register(process.stdin.close)
    return f"http://127.0.0.1:{int(process.stdout.readline())}"


def _proxied() -> set[str]:
    """The schemes that the environment names proxies for."""
    return {*_SCHEMES, "all"} & getproxies().keys()


def unguarded(href: str, hosts: Sequence[str]) -> str | None:
    """Why nobody would look at where ``href`` leads, if so: it goes around the environment's proxy, as what the
    installation itself asks for may, and what a catalog links to may not."""
    parts, proxied = urlsplit(href), _proxied()
    if parts.scheme not in _SCHEMES or not proxied:
        return None
    host = parts.hostname or ""
    if _named(host, parts.port or (80 if parts.scheme == "http" else 443), hosts):
        return None
    if not proxied & {parts.scheme, "all"}:
        return f"the environment names no proxy for {parts.scheme} that would check it"
    excepted = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if proxy_bypass(host) or any(_within(host, one.strip()) for one in excepted.split(",")):
        return f"NO_PROXY names {host}, so that no proxy would check it"
    return None


def _within(host: str, network: str) -> bool:
    """Whether an address lies in a network, which curl reads in NO_PROXY and Python does not."""
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _named(host: str, port: int, hosts: Sequence[str]) -> bool:
    names = (host.casefold(), f"{host.casefold()}:{port}")
    return any(fnmatchcase(name, one.casefold()) for name in names for one in hosts)


def allowed(host: str, port: int, address: Address, hosts: Sequence[str]) -> bool:
    """Whether a connection to ``address``, which the name ``host`` stands for, may be opened."""
    return _named(host, port, hosts) or is_public(address)


def is_public(address: Address) -> bool:
    """Whether ``address`` is on the internet: not private, loopback, link-local, multicast or reserved, also not within
    an IPv6 address that stands for an IPv4 one."""
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if not all(is_public(one) for one in inner if one is not None):
            return False
        if address.ipv4_mapped or address in _NAT64:
            return True
    return address.is_global and not address.is_multicast


async def _serve(hosts: Sequence[str], inward: asyncio.StreamReader, outward: asyncio.StreamWriter) -> None:
    try:
        head = (await inward.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, _, headers = head.partition("\r\n")
        method, target, version = line.split(" ")
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        if method != "CONNECT" and parts.scheme != "http":
            raise Refusal(f"{parts.scheme or 'this'} is no scheme that links may have")
        host, port = parts.hostname or "", parts.port or 80
        there, back = await asyncio.wait_for(_connected(host, port, hosts), _PATIENCE)
    except Refusal as refusal:
        outward.write(f"HTTP/1.1 {REFUSED} {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        outward.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    else:
        if method == "CONNECT":
            outward.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:  # one request a connection: the next one may be for another host
            kept = [h for h in headers.split("\r\n") if h and not h.casefold().startswith(("connection:", "proxy-"))]
            path = parts._replace(scheme="", netloc="", path=parts.path or "/").geturl()
            lines = [f"{method} {path} {version}", *kept, "Connection: close", "", ""]
            back.write("\r\n".join(lines).encode("latin-1"))
        await asyncio.gather(_pump(inward, back), _pump(there, outward))
    outward.close()


async def _connected(host: str, port: int, hosts: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    addresses = await _addresses(host, port)
    open_to = [str(one) for one in addresses if allowed(host, port, one, hosts)]
    if not open_to:
        leads = "" if host == str(addresses[0]) else f" leads to {addresses[0]}, which"
        raise Refusal(f"{host}{leads} is no public address")
    for one in open_to:
        try:
            return await asyncio.open_connection(one, port)
        except OSError as error:
            last = error
    raise last


async def _addresses(host: str, port: int) -> list[Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
        return [ip_address(one) for one in dict.fromkeys(str(one[4][0]) for one in found)]


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(2**16):
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
    except OSError:  # either end hung up; the other pump sees it too
        target.close()


async def _main(hosts: Sequence[str]) -> None:
    server = await asyncio.start_server(lambda i, o: _serve(hosts, i, o), "127.0.0.1", 0, limit=_HEAD)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started this has ended
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
