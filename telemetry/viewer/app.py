"""The viewer's application."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from ..store import Stores
from . import listing, pages
from .access import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..store import TraceStore


def app(
    stores: Sequence[TraceStore], *, token: str | None = None, host: str = "127.0.0.1"
) -> Starlette:
    """An application that shows what is in these stores.

    Its ``state.sources`` are the stores as one.

    Args:
        stores: the stores; they may be written to meanwhile.
        token: asked of everybody who comes. None for nobody but this machine.
        host: the name that it is listened on.
    """
    static = StaticFiles(directory=str(resources.files(__package__) / "static"))
    made = Starlette(
        routes=[*listing.routes, Mount("/static", static, name="static")],
        middleware=[Middleware(Guard, token=token, host=host)],
        exception_handlers={HTTPException: pages.refused, 500: pages.failed},
    )
    made.state.sources = Stores(stores)
    return made
