"""HTTP clients that the sessions of one event loop share: one for each server.

A client of its own for each session would shake hands with the server again in each conversation,
while the caller waits for the first words. The sessions of the gateway run on one loop and share
them; in rooms each job has a loop of its own, so each call makes its own client.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterator
    from typing import Self


log = logging.getLogger(__name__)

CLOSING_SECONDS: Final = 2.0
"""Time that the clients have to close, all together."""


class Client(Protocol):
    """A client with connections."""

    async def close(self) -> None:
        """Close them."""


class Connections:
    """The clients of one event loop."""

    def __init__(self) -> None:
        self._clients: dict[Hashable, Client] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """No clients yet; each is made when it is first asked for, all are closed at the end.

        A client that can't be closed within two seconds is left, and named in the log.
        """
        connections = cls()
        try:
            yield connections
        finally:
            with anyio.move_on_after(CLOSING_SECONDS, shield=True) as limit:
                async with anyio.create_task_group() as closing:
                    for client in connections._clients.values():
                        closing.start_soon(_close, client)
            connections._clients.clear()
            if limit.cancelled_caught:
                log.warning("some HTTP clients were not closed within %g s", CLOSING_SECONDS)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """A block in which :func:`shared` takes them from here: plugins are made in it."""
        token = _lending.set(self)
        try:
            yield
        finally:
            _lending.reset(token)

    def get(self, server: Hashable, make: Callable[[], Client]) -> Client:
        """The client of this server."""
        if server not in self._clients:
            self._clients[server] = make()
        return self._clients[server]


async def _close(client: Client) -> None:
    try:
        await client.close()
    except Exception as error:  # noqa: BLE001 - the others close, the block's error stays
        log.warning("an HTTP client did not close: %r", error)


_lending: Final[ContextVar[Connections | None]] = ContextVar("connections", default=None)


def shared(server: Hashable, make: Callable[[], Client]) -> Client | None:
    """The client of this server, which isn't to be closed; None where nothing is shared."""
    lender = _lending.get()
    return None if lender is None else lender.get(server, make)
