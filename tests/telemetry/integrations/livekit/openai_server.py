"""A server that answers as OpenAI's does, and counts the tokens that it charges for."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT_TOKENS = 100
OUTPUT_TOKENS = 7
CACHED_TOKENS = 64


class OpenAIServer:
    """Answers chat completions, streamed where that is asked for, from ``with`` to its end."""

    def __init__(self) -> None:
        self.requests = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )

    @property
    def url(self) -> str:
        """Its address, as clients want it."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def input_tokens(self) -> int:
        """All that it has charged for, of input."""
        return INPUT_TOKENS * self.requests

    @property
    def output_tokens(self) -> int:
        """All that it has charged for, of output."""
        return OUTPUT_TOKENS * self.requests

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
}


def _handler(server: OpenAIServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests += 1
            if asked.get("stream"):
                content = b"".join(map(_line, _chunks(asked))) + b"data: [DONE]\n\n"
            else:
                content = json.dumps(_whole(asked)).encode()
            kind = "text/event-stream" if asked.get("stream") else "application/json"
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Requests aren't logged."""

    return Handler


def _line(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _chunks(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    common = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
    deltas = [{"role": "assistant", "content": "It is "}, {"content": "noon."}, {}]
    chunks = [
        {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    return [*chunks, {**common, "choices": [], "usage": _USAGE}]


def _whole(asked: Mapping[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "It is noon."}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
