"""A real HTTP proxy on a local port: forwards requests, tunnels for CONNECT.

Whatever host it is asked for, it finds on this machine: it is in a network of its own."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


class Proxy:
    """A proxy from ``with`` to the end of the block.

    Attributes:
        requests: method, target and headers (names in lower case) of all that it was asked for.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="proxy"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that refuse a certificate leave broken connections behind."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        headers = self._note()
        body = self.rfile.read(int(headers["content-length"]))
        target = urlsplit(self.path)
        to = http.client.HTTPConnection("localhost", target.port)
        kept = {name: headers[name] for name in headers if not name.startswith("proxy-")}
        to.request("POST", target.path, body, kept)
        answer = to.getresponse()
        said = answer.read()
        to.close()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_CONNECT(self) -> None:
        self._note()
        _, _, port = self.path.rpartition(":")
        with socket.create_connection(("localhost", int(port))) as there:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: there, there: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    sent = end.recv(65_536)
                    if not sent:
                        self.close_connection = True
                        return
                    ends[end].sendall(sent)

    def _note(self) -> dict[str, str]:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.proxy.requests.append((self.command, self.path, headers))
        return headers

    def log_message(self, format: str, *args: object) -> None:
        """Requests aren't logged."""
