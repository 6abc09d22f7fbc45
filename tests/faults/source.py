"""The sample region behind an HTTP server that can be told to break off."""

from __future__ import annotations

import socket
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from RangeHTTPServer import RangeRequestHandler


class Source(ThreadingHTTPServer):
    """Serves ``folder`` on loopback; ``cuts`` answers with rasters end after ``bytes_sent`` bytes of their body."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.cuts, self.bytes_sent, self.cut = 0, 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: breaking off is what it is for."""


class _Handler(RangeRequestHandler):
    server: Source

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if not self.path.endswith(".tif") or self.server.cut >= self.server.cuts:
            super().copyfile(source, outputfile)
            return
        self.server.cut += 1
        outputfile.write(source.read(self.server.bytes_sent))
        outputfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        pass
