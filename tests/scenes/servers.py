"""Real servers on loopback: files with range requests, counted, rustac's STAC API, and SeaweedFS's S3."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from RangeHTTPServer import RangeRequestHandler


class _Counting(RangeRequestHandler):
    """Files below a folder, and below ``/to?ADDRESS`` a redirection to an address."""

    def send_head(self) -> Any:
        if not self.path.startswith("/to?"):
            return super().send_head()
        self.send_response(302)
        self.send_header("Location", self.path.removeprefix("/to?"))
        self.end_headers()
        return None

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Content-Length" and self.command == "GET":
            self.server.sent += int(value)  # type: ignore[attr-defined]
        super().send_header(keyword, value)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def file_server(folder: Path, host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """Serve ``folder``; the server's ``sent`` counts the bytes of the bodies it announced."""
    server = ThreadingHTTPServer((host, port), partial(_Counting, directory=str(folder)))
    server.sent = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Azure(_Counting):
    """A proxy in the environment, behind which lie a service of tokens and a store that wants them."""

    def send_head(self) -> Any:
        parts = urlsplit(self.path)
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if parts.path.startswith("/sas/"):
            known = parts.path == "/sas/account/container"
            return self._answer(200 if known else 404, {"msft:expiry": "2100-01-01T00:00:00Z", "token": "sig=secret"})
        if parts.query != "sig=secret" or parts.hostname != "account.blob.core.windows.net":
            return self._answer(409, {"error": "public access is not permitted"})
        self.path = parts.path.removeprefix("/container")
        return super().send_head()

    def _answer(self, status: int, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")


@contextmanager
def azure(folder: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """What stands for the Planetary Computer, with the files of ``folder`` in its store.

    Yields the environment that leads to it, and the addresses that were asked for.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Azure, directory=str(folder)))
    server.sent, server.asked = 0, []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        here = f"http://127.0.0.1:{server.server_port}"
        yield {"http_proxy": here, "PC_SDK_SAS_URL": f"{here}/sas"}, server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def stac_api(*documents: Path) -> Iterator[str]:
    """rustac's STAC API server over items and collections in files."""
    address = _free_address()
    with _started("rustac", "serve", "--addr", address, "--create-collections", *map(str, documents), at=address):
        yield f"http://{address}"


@contextmanager
def s3(folder: Path) -> Iterator[dict[str, str]]:
    """SeaweedFS's S3 server with its data in ``folder``: the environment variables that lead to it."""
    key, secret = "swath", "a-secret-of-the-tests"
    rights = {"identities": [{"name": key, "credentials": [{"accessKey": key, "secretKey": secret}]}]}
    rights["identities"][0]["actions"] = ["Admin", "Read", "Write", "List"]  # type: ignore[assignment]
    (folder / "s3.json").write_text(json.dumps(rights))
    flags = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-master.volumeSizeLimitMB=64"]
    flags += ["-volume.max=8", "-master.telemetry=false"]
    flags += ["-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    names = [f"{service}.port{kind}" for service in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    with ExitStack() as stack:
        for left in (2, 1, 0):
            ports = _free_ports(len(names))
            chosen = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
            address = f"127.0.0.1:{ports[0]}"
            try:
                stack.enter_context(_started("weed", "server", *flags, *chosen, at=f"{address}/healthz"))
                break
            except RuntimeError:  # another process may have taken a port meanwhile
                if not left:
                    raise
        yield {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def _free_ports(count: int) -> list[int]:
    """So many ports, each another one: they are held until all are found."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _free_address() -> str:
    return f"127.0.0.1:{_free_ports(1)[0]}"


@contextmanager
def _started(program: str, *arguments: str, at: str) -> Iterator[None]:
    command = [str(Path(sys.executable).parent / program), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise RuntimeError(f"{program} ended with {process.returncode}")
            try:
                httpx.get(f"http://{at}").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield
    finally:
        process.kill()  # its data are the test's own, and SeaweedFS takes half a minute to say goodbye
        process.wait()
