"""Real servers on loopback: files with range requests, counted, and rustac's STAC API."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from RangeHTTPServer import RangeRequestHandler


class _Counting(RangeRequestHandler):
    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Content-Length" and self.command == "GET":
            self.server.sent += int(value)  # type: ignore[attr-defined]
        super().send_header(keyword, value)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def file_server(folder: Path) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """Serve ``folder``; the server's ``sent`` counts the bytes of the bodies it announced."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Counting, directory=str(folder)))
    server.sent = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def stac_api(*documents: Path) -> Iterator[str]:
    """rustac's STAC API server over items and collections in files."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [str(Path(sys.executable).parent / "rustac"), "serve", "--addr", address, "--create-collections"]
    process = subprocess.Popen([*command, *map(str, documents)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if process.poll() is not None:
                raise RuntimeError(f"rustac ended with {process.returncode}")
            try:
                httpx.get(f"http://{address}/").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)
