"""A web service on loopback that remembers who its callers said they were."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Service:
    """Its address, and what it has seen."""

    port: int = 0
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers (names in lower case) of each request."""
    connections: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def headers(self, path: str) -> dict[str, str]:
        """Headers of the only request for this path."""
        [headers] = self.all(path)
        return headers

    def all(self, path: str) -> list[dict[str, str]]:
        """Headers of each request for this path."""
        return [headers for asked, headers in self.requests if asked == path]

    def parent(self, path: str) -> str:
        """The span that the only request for this path was a child of."""
        return self.headers(path)["sentry-trace"].split("-")[1]


@contextmanager
def serving() -> Iterator[Service]:
    """A service: ``?to=URL`` redirects there, ``?busy`` refuses the first time."""
    service, busy = Service(), set[str]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept

        def setup(self) -> None:
            service.connections += 1
            super().setup()

        def do_GET(self) -> None:
            """Answer."""
            asked = urlsplit(self.path)
            named = {name.lower(): value for name, value in self.headers.items()}
            service.requests.append((asked.path, named))
            query = parse_qs(asked.query, keep_blank_values=True)
            body = b"word " * 10
            if "to" in query:
                body = b""
                self.send_response(302)
                self.send_header("Location", query["to"][0])
            elif "busy" in query and asked.path not in busy:
                busy.add(asked.path)
                self.send_response(503)
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
