"""The viewer's application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from ..store import Stores
from . import health, ingest, latency, listing, pages, runs_compared, timeline
from .access import Guard
from .health import Looks
from .index import Index
from .received import Received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ..store import TraceStore
    from .runs_compared import Runs


def app(
    stores: Sequence[TraceStore],
    *,
    received: TraceStore | None = None,
    token: str | None = None,
    host: str = "127.0.0.1",
    runs: Runs | None = None,
) -> Starlette:
    """An application that shows what is in these stores, and what is delivered to it.

    Its ``state.sources`` are the stores as one, ``state.index`` what is listed and searched.

    Args:
        stores: the stores; they may be written to meanwhile.
        received: a store of its own, for what other processes deliver; without it nothing is taken.
        token: asked of everybody who comes. None for nobody but this machine.
        host: the name that it is listened on.
        runs: two runs to be shown side by side.
    """
    static = StaticFiles(directory=str(resources.files(__package__) / "static"))
    made = Starlette(
        routes=[
            *listing.routes,
            *timeline.routes,
            *latency.routes,
            *runs_compared.routes,
            *health.routes,
            *ingest.routes,
            Mount("/static", static, name="static"),
        ],
        middleware=[Middleware(Guard, token=token, host=host)],
        exception_handlers={HTTPException: pages.refused, 500: pages.failed},
        lifespan=_lifespan,
    )
    # whatever is in two of them, the first has more of: what people said isn't delivered
    shown = [*stores, *([] if received is None else [received])]
    state = made.state
    state.sources = Stores(shown)
    state.index = Index(shown)
    state.looks = Looks(tuple(shown))
    state.received = None if received is None else Received(received)
    state.token = token
    state.runs = runs
    state.taking = 0
    """Envelopes that are being read."""
    return made


@asynccontextmanager
async def _lifespan(made: Starlette) -> AsyncIterator[None]:
    try:
        await run_in_threadpool(made.state.index.refresh)  # most is read before anybody asks
        yield
    finally:
        made.state.index.close()
        if made.state.received is not None:
            made.state.received.store.close()
