"""Somewhere to deliver to: an HTTP server in a process of its own that reads and forgets.

A null transport would leave out compression and the network; a server in this process would
compete with what is being measured.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def sink() -> Iterator[str]:
    """A running sink; yields its DSN."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://key@127.0.0.1:{process.stdout.readline().strip()}/1"
        finally:
            process.terminate()


class _Forget(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Requests aren't logged."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Forget)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
