"""Providers that don't do what they should, over real sockets: how long that may take, and the
count of it."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from livekit.agents import APIConnectionError, APIStatusError, llm

import telemetry
from agent.providers import Plugins, load, require
from agent.providers.patient import MOST_WAIT_SECONDS, OP_WAIT, PatientClient
from tests.agent.counted import counted

from .conftest import frames, silence
from .openai_server import OpenAIServer, all_openai

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from telemetry.testing import Captured

LONG_SECONDS = 25
"""Less than the thirty that LiveKit's plugin gives a recognition, or a voice, that hangs."""
KINDS = ("stt", "llm", "tts")
each_kind = pytest.mark.parametrize("kind", KINDS)


@asynccontextmanager
async def asking(base_url: str, patience: float = 0.2) -> AsyncIterator[Plugins]:
    """A session's plugins, all of one server."""
    choice = all_openai(base_url, timeout=patience)
    require(choice)
    with load(choice) as models:
        plugins = models.plugins()
        try:
            yield plugins
        finally:
            await plugins.aclose()


async def ask(kind: str, plugins: Plugins) -> str:
    """Ask this provider for something, as a session does: what it says, or how long that is."""
    connect = plugins.connect
    match kind:
        case "stt":
            event = await plugins.stt.recognize(
                frames(silence(0.5)), conn_options=connect.stt_conn_options
            )
            return event.alternatives[0].text
        case "llm":
            chat = plugins.llm.chat(
                chat_ctx=llm.ChatContext.empty(), conn_options=connect.llm_conn_options
            )
            return (await chat.collect()).text
        case _:
            said = await plugins.tts.synthesize(
                "Good evening.", conn_options=connect.tts_conn_options
            ).collect()
            return f"{said.duration:.1f} s"


@contextmanager
def failing(kind: str, reason: str, times: int) -> Iterator[None]:
    """Hold that the block fails as a provider's failure, within the limit, and that so many
    failures are counted in it."""
    before = counted("parley_provider_failures", kind=kind, reason=reason)
    with pytest.raises((APIConnectionError, APIStatusError)), anyio.fail_after(LONG_SECONDS):
        yield
    assert counted("parley_provider_failures", kind=kind, reason=reason) == before + times


FAULTS: dict[str, tuple[dict[str, Any], str, int]] = {
    "hangs": ({"hangs": True}, "timeout", 2),
    "stops in the middle": ({"stops": True}, "timeout", 2),
    "comes byte by byte": ({"drips": 1}, "timeout", 2),
    "is out of order": ({"broken": True}, "failed", 2),
    "has enough": ({"limited": 0}, "rate_limited", 2),
}


@each_kind
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_provider_that_doesnt_answer_as_it_should(kind: str, fault: str) -> None:
    """It is asked again once, given up, and each attempt is counted by its reason."""
    options, reason, times = FAULTS[fault]
    if kind == "llm" and fault == "stops in the middle":
        times = 1  # words that were said aren't asked for again
    server = OpenAIServer(reply="Good evening to you. " * 5, **options)
    async with server.serving() as url, asking(url) as plugins:
        with failing(kind, reason, times):
            await ask(kind, plugins)
    assert len(server.requests) == times


@contextmanager
def full() -> Iterator[str]:
    """The base URL of a server that takes no more connections."""
    with ExitStack() as sockets, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            one = sockets.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@each_kind
async def test_a_provider_that_can_not_be_connected_to(kind: str) -> None:
    """Connecting has its limit; who refuses at once is told apart."""
    with full() as url:
        async with asking(url) as plugins:
            with failing(kind, "timeout", 2):
                await ask(kind, plugins)
    async with asking(url) as plugins:
        with failing(kind, "connection", 2):
            await ask(kind, plugins)


@pytest.mark.parametrize("kind", ["llm", "tts"])
async def test_a_stream_that_goes_on_slowly(kind: str) -> None:
    """An answer that takes longer than the patience, but goes on, is taken whole."""
    server = OpenAIServer(reply="Good evening to you. " * 40, drips=256)
    async with server.serving() as url, asking(url, patience=1.0) as plugins:
        with anyio.fail_after(LONG_SECONDS):
            said = await ask(kind, plugins)
    assert said == "0.5 s" if kind == "tts" else said.count("evening") == 40
    assert len(server.requests) == 1


@each_kind
async def test_who_says_when_is_asked_then(kind: str, captured: Captured) -> None:
    """After a 429 with Retry-After the second attempt waits so long, and is answered; the wait is
    in the trace."""
    server = OpenAIServer(limited=1.0)
    async with server.serving() as url, asking(url, patience=5.0) as plugins:
        before = counted("parley_provider_failures", kind=kind, reason="rate_limited")
        async with telemetry.conversation("call"):
            assert await ask(kind, plugins)
        after = counted("parley_provider_failures", kind=kind, reason="rate_limited")
    assert after == before + 1
    assert len(server.requests) == 2
    (event,) = captured.conversations
    assert [span["op"] for span in event["spans"]].count(OP_WAIT) == 1


@each_kind
@pytest.mark.parametrize("date", [True, False])
async def test_who_says_much_later_is_not_asked_before(kind: str, date: bool) -> None:
    """A Retry-After that nobody can wait for: no second request reaches the server, whoever asks,
    and each fails at once."""
    server = OpenAIServer(limited=600, says_date=date)
    async with server.serving() as url, asking(url, patience=5.0) as plugins:
        for _ in range(2):
            with failing(kind, "rate_limited", 2):
                await ask(kind, plugins)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        "inf",
        "1e400",
        "nan",
        "-5",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 99999999999999999999 Nov 1995 00:00:00 GMT",
        "Mon, 1 Nov 99999999999999999999 00:00:00 GMT",
        "soon",
        "\x00",
    ],
)
async def test_whatever_is_said_keeps_nobody_away_for_long(said: str) -> None:
    """A server may be asked again within a minute, whatever number or date it sends."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(429, headers={"Retry-After": said})

    async with PatientClient(transport=httpx2.MockTransport(answer)) as client:
        for _ in range(2):
            assert (await client.get("http://model.test/v1")).status_code == 429
        assert client._not_before.get("/v1", 0.0) <= time.monotonic() + MOST_WAIT_SECONDS
    assert asked
