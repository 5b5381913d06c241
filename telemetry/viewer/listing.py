"""The page of conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from . import pages

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ..store import Stores


def conversations(request: Request) -> Response:
    """``GET /``: the conversations, the newest first."""
    sources: Stores = request.app.state.sources
    return pages.page(request, "conversations.html", rows=sources.newest(100))


routes = [Route("/", conversations)]
