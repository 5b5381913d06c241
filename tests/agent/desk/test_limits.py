"""The service's limits, over real sockets: what breaks one is told so, and others are answered."""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from agent.desk import Reservations, ReservationsError, serve
from agent.desk.limits import Limits
from agent.desk.wire import Booking, Reason
from tests.agent.desk.conftest import HOUSE, NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BOOKING = {"name": "Johnson", "date": "2026-11-27", "time": "19:30", "party": 4}


@asynccontextmanager
async def limited(book: Path, limits: Limits) -> AsyncIterator[str]:
    """The URL of a service with these limits."""
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            clock = lambda: NOW  # noqa: E731
            await serve(
                book, port=0, house=HOUSE, now=clock, limits=limits, task_status=task_status
            )

        yield await tasks.start(run)
        tasks.cancel_scope.cancel()


async def connected(url: str) -> anyio.abc.SocketStream:
    host, port = url.removeprefix("http://").split(":")
    return await anyio.connect_tcp(host, int(port))


async def received(stream: anyio.abc.SocketStream) -> bytes:
    """All that comes until the service closes the connection."""
    data = b""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            data += await stream.receive()
    return data


async def test_a_body_that_is_too_large(tmp_path: Path) -> None:
    """It is refused with the limit, and the next request is not."""
    async with (
        limited(tmp_path / "book.db", Limits()) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        answer = await http.post("/reservations", content=b" " * 300_000)
        assert answer.status_code == 413
        assert answer.json() == {
            "reason": "invalid",
            "detail": "body: larger than 16384 bytes",
            "alternatives": [],
        }
        assert (await http.post("/reservations", json=BOOKING)).status_code == 201


@pytest.mark.parametrize("told", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
async def test_a_body_without_end(tmp_path: Path, told: bytes) -> None:
    """No more of it is read than a megabyte and what the network holds; the rest isn't taken."""
    part = b"a" * 65_536
    chunk = part if b"Length" in told else b"10000\r\n" + part + b"\r\n"
    sent = 0
    async with limited(tmp_path / "book.db", Limits()) as url, await connected(url) as stream:
        await stream.send(b"POST /reservations HTTP/1.1\r\nHost: x\r\n" + told + b"\r\n\r\n")
        with suppress(anyio.BrokenResourceError):
            while sent < 90_000_000:
                await stream.send(chunk)
                sent += len(part)
    assert sent < 90_000_000


async def test_a_head_that_is_too_large(tmp_path: Path) -> None:
    """Headers without end are refused."""
    async with limited(tmp_path / "book.db", Limits()) as url, await connected(url) as stream:
        await stream.send(b"GET /hours HTTP/1.1\r\nHost: x\r\nX-More: " + b"a" * 20_000)
        assert (await received(stream)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /hours HTTP/1.1\r\nHost:",
        b"POST /reservations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /hours HTTP/1.1\r\nHost: x\r\n\r\nGET /hours HTTP/1.1\r\nHost:",
    ],
    ids=["nothing", "half a head", "half a body", "half a second head"],
)
async def test_a_request_that_does_not_come(tmp_path: Path, begun: bytes) -> None:
    """Who begins a request and doesn't end it is told that it took too long, and closed."""
    limits = Limits(seconds=0.2)
    async with limited(tmp_path / "book.db", limits) as url, await connected(url) as stream:
        if begun:
            await stream.send(begun)
        assert b"HTTP/1.1 408 " in await received(stream)


async def test_sockets_that_ask_for_nothing(tmp_path: Path) -> None:
    """More of them than there may be keep nobody out: the oldest one makes room."""
    limits = Limits(seconds=30, connections=5)
    async with limited(tmp_path / "book.db", limits) as url, AsyncExitStack() as sockets:
        slow = [await sockets.enter_async_context(await connected(url)) for _ in range(20)]
        async with Reservations.connect(url) as reservations:
            await reservations.hours()
        assert b"HTTP/1.1 408 " in await received(slow[0])


async def test_a_book_that_is_locked(tmp_path: Path) -> None:
    """Whoever asks meanwhile hears so before their own patience ends, however many they are, and
    when to come again; the caller hears a sentence. Afterwards all is as before."""
    book = tmp_path / "book.db"
    async with limited(book, Limits()) as url, Reservations.connect(url) as reservations:
        with closing(sqlite3.connect(book, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answers = []

            async def ask(http: httpx.AsyncClient) -> None:
                answers.append(await http.post("/reservations", json=BOOKING))

            async with (
                httpx.AsyncClient(base_url=url, timeout=4.0) as http,
                anyio.create_task_group() as tasks,
            ):
                for _ in range(90):
                    tasks.start_soon(ask, http)
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
            assert answers[0].json()["reason"] == Reason.BUSY
            with pytest.raises(ReservationsError, match="very busy at the moment"):
                await reservations.book(Booking.model_validate(BOOKING))
            other.execute("ROLLBACK")
        await reservations.book(Booking.model_validate(BOOKING))


async def test_what_is_wrong_with_the_book_is_no_lock(tmp_path: Path) -> None:
    """Another error of the book's is not a matter of waiting: it is the service's own."""
    book = tmp_path / "book.db"
    async with limited(book, Limits()) as url, httpx.AsyncClient(base_url=url) as http:
        with closing(sqlite3.connect(book)) as other:
            other.execute("DROP TABLE reservations")
        assert (await http.post("/reservations", json=BOOKING)).status_code == 500
