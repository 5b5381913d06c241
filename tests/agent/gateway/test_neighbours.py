"""Bad neighbours of a call, over real sockets: each meets a limit, is counted, and is in the trace.

What callers are told is with the modules (``test_server.py``, ``test_connection.py``); here is that
nothing stays behind, and that an operator sees it.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import socket
import threading
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest
from anyio.abc import SocketAttribute
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, Agent, function_tool, llm
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Origin

from agent.gateway import Call, Start, Text, Words, connect, encode, serve
from agent.gateway import call as gateway_call
from agent.gateway.connection import Connection
from agent.gateway.line import GatewayLine
from agent.gateway.strangers import Strangers
from agent.metrics import Limit
from agent.providers import CallTool, Plugins, Say, scripted, voice_activity
from agent.session import Manners, VoiceSession
from agent.session.line import Outcome
from agent.session.silence import OP_GIVEN_UP
from telemetry import attributes as names
from tests.agent.counted import counted, reaching, times_reached
from tests.bench.sessions import Recognizer, Voice

from . import blunt
from .sessions import Gateway, gateway
from .test_server import MINUTES_OF_AUDIO, START, closing, raw, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from agent.session import Line, SessionRequest
    from telemetry.testing import Captured

TIMES = 1000
AT_ONCE = 50
_START = blunt.wire(Frame(Opcode.TEXT, encode(START).encode()))  # type: ignore[union-attr]  # text


# -- callers ---------------------------------------------------------------------------------------


async def floods(echo: Gateway) -> None:
    await blunt.flood(echo.url, MINUTES_OF_AUDIO, messages=[START])


async def floods_before_start(echo: Gateway) -> None:
    await blunt.flood(echo.url, blunt.wire(Frame(Opcode.PING, b"")) * 100)


async def reads_nothing(echo: Gateway) -> None:
    async with raw(echo.url) as caller:
        await caller.send(encode(START))
        await caller.send(encode(Text(text="talk without end")))
        await ended(echo)
        await closing(caller)


async def breaks_the_protocol(echo: Gateway) -> None:
    async with raw(echo.url) as caller:
        await caller.send(encode(START))
        await caller.send("{")
        await closing(caller)


async def says_too_much(echo: Gateway) -> None:
    async with raw(echo.url) as caller:
        await caller.send(encode(START))
        await caller.send("x" * 20_000)
        await closing(caller)


async def begins_with_nonsense(echo: Gateway) -> None:
    async with raw(echo.url) as caller:
        await caller.send("{")
        await closing(caller)


async def is_gone_without_a_word(echo: Gateway) -> None:
    """Nothing comes from there any more, not even what an operating system answers by itself."""
    async with await blunt.connect(echo.url) as stream:
        await stream.send(_START)
        await ended(echo)


async def says_nothing(echo: Gateway) -> None:
    async with connect(echo.url, start=START) as call:
        assert [message async for message in call]


async def lingers(echo: Gateway) -> None:
    async with connect(echo.url, start=START) as call:
        await call.send_text("linger")
        async for message in call:
            if isinstance(message, Words):
                break
        await call.end()
        assert [message async for message in call]


async def is_one_too_many(echo: Gateway) -> None:
    async with connect(echo.url, start=start("other")), raw(echo.url) as caller:
        await closing(caller)


async def are_too_many_strangers(echo: Gateway) -> None:
    async with raw(echo.url) as first, raw(echo.url):
        await closing(first)


async def never_starts(echo: Gateway) -> None:
    async with raw(echo.url) as caller:
        await closing(caller)


async def makes_half_a_handshake(echo: Gateway) -> None:
    host, port = echo.url.removeprefix("ws://").split(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(blunt.HANDSHAKE[:40])
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await stream.receive()


async def comes_from_elsewhere(echo: Gateway) -> None:
    with pytest.raises(InvalidStatus):
        async with blunt_connect(echo.url, origin=Origin("http://elsewhere.example")):
            pass


def blunt_connect(url: str, **options: Any) -> Any:
    from websockets.asyncio.client import connect as connect_websocket

    return connect_websocket(url, proxy=None, **options)


async def ended(echo: Gateway) -> None:
    """The session of the one caller has ended."""
    while "made-up" not in echo.sessions:
        await health(echo.url)
    await echo.sessions["made-up"].closed.wait()


async def health(url: str) -> dict[str, Any]:
    """The answer of ``/health``, which the gateway gives once it has come to it."""
    host, port = url.removeprefix("ws://").split(":")
    answer = bytearray()
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async for part in stream:
            answer += part
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


CALLERS: list[
    tuple[Callable[[Gateway], Awaitable[None]], dict[str, Any], Limit, Outcome | None]
] = [
    (floods, {}, Limit.TOO_FAST, Outcome.REFUSED),
    (floods_before_start, {}, Limit.TOO_FAST, None),
    (reads_nothing, {}, Limit.UNREAD, Outcome.REFUSED),
    (breaks_the_protocol, {}, Limit.PROTOCOL, Outcome.REFUSED),
    (says_too_much, {}, Limit.PROTOCOL, Outcome.REFUSED),
    (begins_with_nonsense, {}, Limit.PROTOCOL, None),
    (is_gone_without_a_word, {"unanswered": 0.05}, Limit.HALF_OPEN, Outcome.HUNG_UP),
    (says_nothing, {"idle_timeout": 0.01}, Limit.IDLE, Outcome.IDLE),
    (says_nothing, {"max_duration": 0.01}, Limit.DURATION, Outcome.TIME_LIMIT),
    (lingers, {"grace": 0.01}, Limit.CLOSE, None),
    (is_one_too_many, {"max_sessions": 1}, Limit.SESSIONS, None),
    (are_too_many_strangers, {"max_strangers": 1}, Limit.STRANGERS, None),
    (never_starts, {"start_timeout": 0.3}, Limit.START, None),
    (makes_half_a_handshake, {"start_timeout": 0.3}, Limit.HANDSHAKE, None),
    (comes_from_elsewhere, {}, Limit.ADMISSION, None),
]


@pytest.mark.parametrize(
    ("caller", "options", "limit", "outcome"),
    CALLERS,
    ids=[f"{caller.__name__}-{limit.value}" for caller, _, limit, _ in CALLERS],
)
async def test_a_caller_that_meets_a_limit(
    caller: Callable[[Gateway], Awaitable[None]],
    options: dict[str, Any],
    limit: Limit,
    outcome: Outcome | None,
) -> None:
    """It is counted once; a call that it ends says which limit that was, and is counted by how
    it ended."""
    before = 0.0 if outcome is None else counted("parley_calls", outcome=outcome.value)
    with reaching(limit, times=1), anyio.fail_after(30):
        seen = times_reached(limit)
        async with gateway(**options) as echo:
            await caller(echo)
            while times_reached(limit) == seen:
                await health(echo.url)
    if outcome is not None:
        session = echo.sessions["made-up"]
        assert (session.outcome, session.limit) == (outcome, limit)
        assert counted("parley_calls", outcome=outcome.value) == before + 1


# -- coming and going ------------------------------------------------------------------------------


async def come_and_go(url: str, number: int) -> None:
    """Connect, and be gone: before a word, half-way through a handshake, after it, in a call;
    with a goodbye, without one, or as a machine that fails."""
    host, port = url.removeprefix("ws://").split(":")
    stream = await anyio.connect_tcp(host, int(port))
    async with stream:
        match number % 5:
            case 0:
                pass
            case 1:
                await stream.send(blunt.HANDSHAKE[: 1 + number % len(blunt.HANDSHAKE)])
            case 2:
                await stream.send(blunt.HANDSHAKE)
                await stream.receive()
            case 3:
                await stream.send(blunt.HANDSHAKE + _START)
                received = b""
                while b"started" not in received:
                    received += await stream.receive()
                reset: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - no SQL
                reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            case _:
                await stream.aclose()
                about = Start(sample_rate=16000, id=f"c-{number}")
                async with connect(url, start=about) as call:
                    await call.end()


def held() -> dict[str, int]:
    """Everything that a connection could leave behind, counted."""
    gc.collect()
    kinds = (Connection, GatewayLine, gateway_call.Call)
    found = [each for each in gc.get_objects() if type(each) in (*kinds, Strangers)]
    return {
        **{kind.__name__: sum(isinstance(each, kind) for each in found) for kind in kinds},
        "strangers": sum(len(each) for each in found if isinstance(each, Strangers)),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


@pytest.mark.usefixtures("settled")
async def test_a_thousand_who_come_and_go() -> None:
    """They leave no task, thread, file, session, id or entry in a table behind; who calls then
    is answered."""
    async with gateway(max_sessions=2 * AT_ONCE, max_strangers=2 * AT_ONCE) as echo:

        async def all_of(numbers: range) -> dict[str, int]:
            for first in range(numbers.start, numbers.stop, AT_ONCE):
                async with anyio.create_task_group() as tasks:
                    for number in range(first, first + AT_ONCE):
                        tasks.start_soon(come_and_go, echo.url, number)
            while (await health(echo.url))["sessions"]:
                pass
            echo.sessions.clear()  # the test's own
            return held()

        before = await all_of(range(AT_ONCE))
        with anyio.fail_after(50):
            found = await all_of(range(AT_ONCE, AT_ONCE + TIMES))
            while any(found[name] > before[name] for name in before):  # the last is being closed
                await health(echo.url)
                found = held()
        async with connect(echo.url, start=start("c-4")) as call:
            assert call.id == "c-4"


# -- whole conversations ---------------------------------------------------------------------------


class Mute(llm.LLM[Any]):
    """A language model that takes a request and never says a word, whatever its time limit."""

    def chat(self, *, chat_ctx: llm.ChatContext, **options: Any) -> llm.LLMStream:
        connect = options.get("conn_options", DEFAULT_API_CONNECT_OPTIONS)
        return _Never(self, chat_ctx=chat_ctx, tools=[], conn_options=connect)


class _Never(llm.LLMStream):
    async def _run(self) -> None:
        await anyio.sleep_forever()


class Asker(Agent):
    """An agent whose one tool never returns."""

    manners: ClassVar[Manners] = Manners(
        reply_limit=0.2, tool_limit=0.2, tool_given_up="It takes too long."
    )

    def __init__(self) -> None:
        super().__init__(instructions="")

    @function_tool
    async def ask(self) -> str:
        """Never return."""
        await anyio.sleep_forever()
        return ""


class _Script:
    def reply(self, chat_ctx: llm.ChatContext) -> Say | CallTool:
        newest = chat_ctx.items[-1]
        if newest.type == "function_call_output":
            return Say(newest.output)
        return CallTool("ask", {})


@asynccontextmanager
async def conversing(model: llm.LLM[Any]) -> AsyncIterator[str]:
    """The URL of a gateway of real sessions with this model."""

    def open_session(request: SessionRequest, line: Line) -> VoiceSession:
        detector = voice_activity.detector
        return VoiceSession(
            request,
            line,
            agent=Asker,
            plugins=lambda: Plugins(vad=detector(), stt=Recognizer(), llm=model, tts=Voice()),
        )

    async with anyio.create_task_group() as tasks:
        yield await tasks.start(functools.partial(serve, open_session, port=0))
        tasks.cancel_scope.cancel()


async def hear(call: Call, said: str) -> None:
    """Wait for the agent to say this."""
    async for message in call:
        if isinstance(message, Words) and message.speaker == "agent" and message.text == said:
            return
    raise AssertionError(f"{said!r} was never said")


async def asked(url: str, answer: str) -> None:
    """A caller who types, hears this, and hangs up."""
    async with AsyncExitStack() as stack:
        call = await stack.enter_async_context(connect(url, start=START))
        await call.send_text("Are you open?")
        await hear(call, answer)
        await call.end()
        assert [message async for message in call]


def spans(captured: Captured, op: str) -> Iterator[dict[str, Any]]:
    (event,) = captured.conversations
    return (span for span in event["spans"] if span["op"] == op)


async def test_a_reply_that_never_comes(
    captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever provider is stuck, the reply is given up, the caller is told, and the trace says it.

    The caller can go on then: nothing holds the agent's turn any more.
    """
    monkeypatch.setattr("agent.session.silence._STUCK_SECONDS", 0.05)
    with reaching(Limit.REPLY, times=1), anyio.fail_after(30):
        async with conversing(Mute()) as url:
            await asked(url, Asker.manners.apology)
    (span,) = spans(captured, OP_GIVEN_UP)
    assert span["status"] != "ok"


async def test_a_tool_that_never_returns(captured: Captured) -> None:
    """The tool is given up, its words are said, its span has failed."""
    with reaching(Limit.TOOL, times=1), anyio.fail_after(30):
        async with conversing(scripted.LLM(_Script())) as url:
            await asked(url, "It takes too long.")
    (span,) = spans(captured, names.OP_TOOL)
    assert span["status"] != "ok"


async def test_the_trace_names_the_limit(captured: Captured) -> None:
    """A conversation that a limit ended says which, beside its outcome."""
    seen = times_reached(Limit.TOO_FAST)
    async with conversing(scripted.LLM(_Script())) as url:
        with anyio.fail_after(30):
            await blunt.flood(url, MINUTES_OF_AUDIO, messages=[START])
            while times_reached(Limit.TOO_FAST) == seen:
                await health(url)
    (event,) = captured.conversations
    facts = event["contexts"]["trace"]["data"]
    assert facts[names.CONVERSATION_OUTCOME] == "refused"
    assert facts[names.CONVERSATION_LIMIT] == "too_fast"
