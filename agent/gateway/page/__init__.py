"""The page to talk from: ``GET /`` and what it loads, over the gateway's own port.

Plain files, sent as they are: no build step, nothing from elsewhere. A closed set of paths, read
once; nothing a request says becomes a file's name.

==================  ===============================================================
file                contents
==================  ===============================================================
``index.html``      the page
``style.css``       its looks: light and dark, a phone's width and a desk's
``main.js``         the course of events; the only module that knows the others
``call.js``         a call over ``parley.v1``: a WebSocket, its messages, its end
``audio.js``        microphone and loudspeaker, their levels
``capture.js``      worklet: the microphone in 20 ms frames
``playback.js``     worklet: the agent's frames through a jitter buffer
``response.js``     the time an answer took, from the audio on both sides
``view.js``         the words, states, tools and figures on the page
:data:`SHARED`      colours, the icon, and what makes other people's text printable
==================  ===============================================================
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

SHARED: Final = ("icon.svg", "printable.js", "tokens.css")
"""Files that it has in common with the pages of telemetry's viewer, and that are there."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Sent with everything: the page loads nothing from elsewhere, and no other page loads it."""


class File(NamedTuple):
    """A file of the page."""

    content_type: str
    text: str


class Page:
    """The files of the page, by path. They are read when it is made."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        for entry in _entries():
            content_type = _TYPES.get("." + entry.name.rpartition(".")[2])
            if content_type is not None:
                self._files[f"/{entry.name}"] = File(content_type, entry.read_text("utf-8"))
        self._files["/"] = self._files.pop("/index.html")

    @property
    def paths(self) -> list[str]:
        """The paths that there are."""
        return sorted(self._files)

    def find(self, path: str) -> File | None:
        """The file that a request's path (its query aside) asks for; None if there is none."""
        return self._files.get(path.partition("?")[0])


def _entries() -> Iterator[Traversable]:
    """The files of this folder, and those that are shared."""
    yield from resources.files(__name__).iterdir()
    shared = resources.files(telemetry).joinpath("viewer", "static")
    for name in SHARED:
        yield shared.joinpath(name)
