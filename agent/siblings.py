"""Siblings: processes that take calls on one port, and what each tells the others of itself.

A connection to the port comes to any of them, and who asks one of them means all. So each answers
on a socket in a folder that they share, which is nobody else's, and is asked there: for its health
by the one that a caller has asked, for its metrics by the process that keeps them all
(:mod:`agent.cli.processes`).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web
from prometheus_client import generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

_ANSWER_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0)
_ASK_AGAIN_SECONDS: Final = 0.5
"""Time that an answer holds for: strangers ask for health, and may ask as often as they like."""
_CLOSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a process among its siblings."""

    folder: Path
    """The folder that they share."""
    number: int
    """Its number, from 0."""
    of: int
    """How many they are."""
    seats: int
    """The descriptor of the file by which they share seats."""

    def share(self, whole: int) -> int:
        """Its share of so many, rounded up."""
        return -(-whole // self.of)


def socket_of(folder: Path, process: int) -> Path:
    """The socket on which a process, by its number in the system, answers its siblings."""
    return folder / f"{process}.sock"


async def ask(socket: Path, what: str) -> str | None:
    """The ``health`` or the ``metrics`` of the process that answers there; None if it doesn't.

    Raises OSError where there is no process any more.
    """
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(socket)), timeout=_ANSWER_TIMEOUT
            ) as client,
            client.get(f"http://sibling/{what}") as answer,
        ):
            return await answer.text()
    except aiohttp.ClientConnectorError as error:
        raise error.os_error from None
    except (aiohttp.ClientError, TimeoutError):
        return None


class Siblings:
    """The others, as one of them sees them.

    ``own`` is the health of this process.
    """

    def __init__(self, place: Place, own: Callable[[], dict[str, Any]]) -> None:
        self._folder = place.folder
        self._own = own
        self._asking = asyncio.Lock()
        self._heard: list[str | None] = []
        self._asked_at = float("-inf")

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Answer the others inside the block."""

        async def health(_: web.Request) -> web.Response:
            return web.json_response(self._own())

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=await asyncio.to_thread(generate_latest))

        app = web.Application()
        app.add_routes([web.get("/health", health), web.get("/metrics", metrics)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        socket = socket_of(self._folder, os.getpid())
        try:
            await web.UnixSite(runner, str(socket)).start()
            yield
        finally:
            await runner.cleanup()
            with suppress(OSError):
                socket.unlink(missing_ok=True)

    async def health(self) -> dict[str, Any]:
        """The health of all together. What the others say of themselves is half a second old, at
        most."""
        async with self._asking:
            if time.monotonic() - self._asked_at > _ASK_AGAIN_SECONDS:
                self._heard = await self._ask_others()
                self._asked_at = time.monotonic()
        return together(self._own(), self._heard)

    async def _ask_others(self) -> list[str | None]:
        own = socket_of(self._folder, os.getpid())
        others = [socket for socket in self._folder.glob("*.sock") if socket != own]
        answers = await asyncio.gather(
            *(ask(socket, "health") for socket in others), return_exceptions=True
        )
        # an error is one of who has just ended, and whom nobody has cleared away
        return [answer for answer in answers if not isinstance(answer, BaseException)]


def together(own: Mapping[str, Any], others: list[str | None]) -> dict[str, Any]:
    """One health of several: of this process, and of the others as JSON, None for one that didn't
    answer."""
    heard = [own, *(json.loads(other) for other in others if other is not None)]
    reasons = [reason for each in heard for reason in each["reasons"]]
    if mute := others.count(None):
        reasons.append(f"{mute} of {len(others) + 1} processes didn't answer")
    return {
        **own,
        "status": "degraded" if reasons else "healthy",
        "reasons": list(dict.fromkeys(reasons)),
        "sessions": sum(each["sessions"] for each in heard),
        "processes": len(heard),
    }
