"""The gateway over real sockets: calls, and everything that can go wrong with one."""

from __future__ import annotations

import logging
import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Origin, Subprotocol

import telemetry
from agent.gateway import (
    MAX_TEXT_CHARACTERS,
    SUBPROTOCOL,
    AudioEnded,
    AudioStarted,
    Call,
    CloseCode,
    ConnectError,
    Disconnected,
    End,
    Ended,
    Flush,
    GatewayMessage,
    ListenError,
    Start,
    Text,
    Tool,
    Words,
    connect,
    encode,
    serve,
    token_subprotocol,
)
from agent.gateway.budget import MAX_TYPED_CHARACTERS, MAX_TYPED_TURNS
from agent.gateway.page import HEADERS, Page
from agent.listening import PortError
from agent.session.line import Outcome
from agent.stopping import Stopping
from tests.ingest import Ingest

from .blunt import flood, wire
from .sessions import TRACE_ID, gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

START = Start(sample_rate=16000)
FRAME = b"\x10\x20" * 320
MINUTES_OF_AUDIO = wire(Frame(Opcode.BINARY, FRAME)) * 20_000


def start(name: str) -> Start:
    return Start(sample_rate=16000, id=name)


async def until(call: Call, wanted: GatewayMessage) -> list[GatewayMessage]:
    """What came before it."""
    before: list[GatewayMessage] = []
    async for message in call:
        if message == wanted:
            return before
        before.append(message)
    raise AssertionError(f"{wanted!r} never came, but {before}")


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[ClientConnection]:
    """A caller that may say anything."""
    async with connect_websocket(url, subprotocols=[Subprotocol("parley.v1")], proxy=None) as it:
        yield it


async def closing(websocket: ClientConnection) -> tuple[int | None, str | None]:
    """The code and reason the gateway closes with."""
    with suppress(ConnectionClosed):
        while True:
            await websocket.recv()
    return websocket.close_code, websocket.close_reason


async def assert_answers(call: Call) -> None:
    """The call is alive both ways."""
    await call.send_text("still there?")
    await until(call, Words(speaker="user", text="still there?", final=True))
    for _ in range(2):  # one isn't a window of what is heard yet
        await call.send_audio(FRAME)
    await until(call, FRAME)


async def test_a_call() -> None:
    """A caller says who it is, is heard, hears the agent, is told what happens, and hangs up."""
    headers = {
        "sentry-trace": f"{TRACE_ID}-0123456789abcdef-1",
        "baggage": "sentry-environment=test",
    }
    about = Start(
        sample_rate=8000, id="c-1", user={"id": "u"}, tags={"tenant": "acme"}, headers=headers
    )
    async with gateway() as echo, connect(echo.url, start=about) as call:
        assert (call.id, call.trace_id, call.started.sample_rate) == ("c-1", TRACE_ID, 8000)
        request = echo.sessions["c-1"].request
        assert (request.user, request.tags) == ({"id": "u"}, {"tenant": "acme"})
        assert request.headers == headers
        frames = [
            bytes([n]) * 320 for n in range(1, 9)
        ]  # 160 ms: five windows as they are heard in
        for frame in frames:
            await call.send_audio(frame)
        assert await until(call, frames[-1]) == [AudioStarted(), *frames[:-1]]
        await call.send_text("use a tool", headers)
        await until(call, Tool(name="book", arguments='{"party": 2}', ok=True))
        assert echo.sessions["c-1"].asked_from == headers
        await call.send_gap(0.74)
        await call.send_text("stop")
        assert await until(call, AudioEnded(interrupted=True)) == [
            Words(speaker="user", text="stop", final=True),
            Flush(),
        ]
        assert echo.sessions["c-1"].gaps == [0.74]
        await call.end()
        await call.send_audio(frames[0])
        assert [message async for message in call][-1] == Ended(outcome=Outcome.HUNG_UP)
        assert call.close_code == CloseCode.NORMAL


async def test_the_session_ends_it() -> None:
    """When the session is over, the caller is told how, and the connection closes normally."""
    async with gateway() as echo, connect(echo.url, start=START) as call:
        await call.send_text("goodbye")
        await until(call, Ended(outcome=Outcome.COMPLETED))
        assert [message async for message in call] == []
        assert call.close_code == CloseCode.NORMAL


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        (["{"], CloseCode.INVALID, "message is not JSON"),
        (['{"type": "dance"}'], CloseCode.UNKNOWN_TYPE, "unknown message type 'dance'"),
        ([FRAME], CloseCode.OUT_OF_ORDER, "audio out of order: the call is new"),
        ([encode(START), encode(START)], CloseCode.OUT_OF_ORDER, "'start' out of order"),
        ([encode(START), FRAME[:-2]], CloseCode.INVALID, "frame of 638 bytes"),
        ([encode(START), '{"type": "text"}'], CloseCode.INVALID, "text.text: Field required"),
        ([encode(START), "x" * 20000], CloseCode.TOO_BIG, "16384"),
    ],
)
async def test_breaking_the_protocol(
    messages: list[str | bytes], code: CloseCode, reason: str
) -> None:
    """A caller that breaks the protocol is told how and disconnected; another's call goes on."""
    async with gateway() as echo, connect(echo.url, start=start("other")) as other:
        async with raw(echo.url) as caller:
            for message in messages:
                await caller.send(message)
            closed_with = await closing(caller)
        assert closed_with[0] == code
        assert reason in (closed_with[1] or "")
        await assert_answers(other)
        if "made-up" in echo.sessions:
            await echo.sessions["made-up"].closed.wait()
            assert echo.sessions["made-up"].outcome is Outcome.REFUSED


async def test_a_session_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one session ends that call as failed; another's call goes on."""
    async with gateway() as echo, connect(echo.url, start=start("other")) as other:
        async with connect(echo.url, start=START) as call:
            await call.send_text("crash")
            await until(call, Ended(outcome=Outcome.FAILED))
            assert [message async for message in call] == []
            assert call.close_code == CloseCode.INTERNAL_ERROR
        await assert_answers(other)
    assert "session made-up raised" in caplog.text


async def test_a_gateway_task_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """When a task of the call fails, the session is still asked to end, not cancelled."""
    async with gateway() as echo, connect(echo.url, start=START) as call:
        await call.send_text("break the reader")
        await until(call, Ended(outcome=Outcome.FAILED))
        assert not echo.sessions["made-up"].cancelled
    assert "call made-up failed" in caplog.text


async def test_a_session_that_does_not_open(caplog: pytest.LogCaptureFixture) -> None:
    """Without a session there is no call, and the next caller gets one."""
    async with gateway(max_sessions=1) as echo:
        with pytest.raises(Disconnected, match="the call could not be opened") as refused:
            async with connect(echo.url, start=start("unopenable")):
                pass
        assert refused.value.code == CloseCode.INTERNAL_ERROR
        async with connect(echo.url, start=START) as call:
            await assert_answers(call)
    assert "no session for this caller" in caplog.text


async def test_a_lost_connection() -> None:
    """A caller whose connection is gone has hung up."""
    async with gateway() as echo:
        async with raw(echo.url) as caller:
            await caller.send(encode(START))
            await caller.recv()
            caller.transport.abort()
        session = echo.sessions["made-up"]
        await session.closed.wait()
        assert session.outcome is Outcome.HUNG_UP
        assert not session.cancelled


async def test_leaving_without_a_word() -> None:
    """A caller that just closes its connection has hung up, too."""
    async with gateway() as echo:
        async with connect(echo.url, start=START):
            pass
        session = echo.sessions["made-up"]
        await session.closed.wait()
        assert session.outcome is Outcome.HUNG_UP


async def test_a_farewell_to_nobody() -> None:
    """A caller who is gone while the session says goodbye is not said goodbye to any longer."""
    async with gateway(grace=20) as echo:
        async with connect(echo.url, start=START) as call:
            await call.send_text("say a long goodbye")
            await until(call, Words(speaker="user", text="say a long goodbye", final=True))
            await call.end()
        session = echo.sessions["made-up"]
        with anyio.fail_after(10):
            await session.closed.wait()
        assert not session.cancelled


async def test_a_slow_reader() -> None:
    """A caller that doesn't read what it is sent is disconnected; another's call goes on."""
    async with gateway() as echo, connect(echo.url, start=start("other")) as other:
        async with raw(echo.url) as caller:
            await caller.send(encode(START))
            await caller.send(encode(Text(text="talk without end")))
            while "made-up" not in echo.sessions:
                await assert_answers(other)
            await echo.sessions["made-up"].closed.wait()
            assert echo.sessions["made-up"].outcome is Outcome.REFUSED
            assert await closing(caller) == (
                CloseCode.TOO_SLOW,
                "the caller doesn't read what it is sent",
            )
        await assert_answers(other)


async def test_the_cap() -> None:
    """Over the cap a caller is told to try again later, and can when a call has ended."""
    async with gateway(max_sessions=1) as echo:
        async with connect(echo.url, start=START) as call:
            with pytest.raises(Disconnected, match="all 1 sessions are taken") as refused:
                async with connect(echo.url, start=START):
                    pass
            assert refused.value.code == CloseCode.TRY_AGAIN_LATER
            await call.end()
            assert [message async for message in call] == [Ended(outcome=Outcome.HUNG_UP)]
        async with connect(echo.url, start=START) as call:
            await assert_answers(call)


async def test_the_token() -> None:
    """With a token set, who doesn't have it isn't let in; health needs none."""
    async with gateway(token="s3cret") as echo:
        for token in (None, "", "s3cre", "s3cret2"):
            with pytest.raises(ConnectError, match="HTTP status 401: check the token"):
                async with connect(echo.url, start=START, token=token):
                    pass
        async with connect(echo.url, start=START, token="s3cret") as call:
            await assert_answers(call)
            async with httpx.AsyncClient(trust_env=False) as http:
                health = await http.get(echo.url.replace("ws://", "http://") + "/health")
            assert health.headers["Content-Type"] == "application/json"
            assert health.json() == {
                "status": "healthy",
                "reasons": [],
                "sessions": 1,
                "max_sessions": 20,
                "token_required": True,
            }


async def test_health_and_metrics_of_what_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong is said by health, whose status stays 200, and counted by metrics, which are
    at a port of their own and nowhere on the gateway's."""
    with Ingest() as ingest, telemetry.init(dsn=ingest.dsn, store=tmp_path / "t.db") as runtime:
        ingest.answer(403)
        caplog.set_level(logging.INFO, "agent.gateway")
        async with (
            gateway(runtime=runtime, metrics_at=("127.0.0.1", 0)) as echo,
            connect(echo.url, start=START),
            httpx.AsyncClient(trust_env=False) as http,
        ):
            web = echo.url.replace("ws://", "http://")
            assert (await http.get(f"{web}/health")).json()["status"] == "healthy"
            with telemetry.conversation("host"):
                pass
            await runtime.aflush(10)
            answer = await http.get(f"{web}/health")
            health = answer.json()
            [at] = re.findall(r"metrics at (http://127.0.0.1:\d+/metrics)", caplog.text)
            told = (await http.get(at)).text.splitlines()
            assert (await http.get(f"{web}/metrics")).status_code == 404
    assert (answer.status_code, health["status"], health["sessions"]) == (200, "degraded", 1)
    assert any("refused" in reason for reason in health["reasons"])
    assert str(tmp_path) not in answer.text
    for line in (
        "parley_sessions 1.0",
        "parley_sessions_max 20.0",
        "parley_telemetry_conversations_total 1.0",
        'parley_telemetry_dropped_total{reason="http_403"} 1.0',
    ):
        assert line in told


async def test_a_port_for_metrics_that_is_taken() -> None:
    """One line that names the setting, before anybody is let in."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ExceptionGroup) as raised:
            async with gateway(metrics_at=("127.0.0.1", port)):
                pass
    [error] = raised.value.exceptions
    assert str(error).startswith(f"PARLEY_METRICS_PORT={port}: can't listen on 127.0.0.1: ")
    assert isinstance(error, PortError)


async def test_silence_on_the_wire() -> None:
    """A call on which nothing comes from the caller ends as idle."""
    async with gateway(idle_timeout=0.01) as echo, connect(echo.url, start=START) as call:
        assert [message async for message in call] == [Ended(outcome=Outcome.IDLE)]


async def test_the_longest_call() -> None:
    """A call ends when it has lasted as long as one may, whatever is going on."""
    async with gateway(max_duration=0.01) as echo, connect(echo.url, start=START) as call:
        assert [message async for message in call] == [Ended(outcome=Outcome.TIME_LIMIT)]


async def test_no_start() -> None:
    """Who connects and doesn't start a call is disconnected."""
    async with gateway(start_timeout=0.5) as echo, raw(echo.url) as caller:
        assert await closing(caller) == (CloseCode.NO_START, "no 'start' within 0.5 s")


async def test_a_session_that_does_not_end(caplog: pytest.LogCaptureFixture) -> None:
    """A session that outlives its grace is cancelled, and the caller doesn't wait longer."""
    async with gateway(grace=0.01) as echo, connect(echo.url, start=START) as call:
        await call.send_text("linger")
        await until(call, Words(speaker="user", text="linger", final=True))
        await call.end()
        await until(call, Ended(outcome=Outcome.HUNG_UP))
        assert echo.sessions["made-up"].cancelled
    assert "didn't end within 0.01 s" in caplog.text


async def test_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    """Shutdown ends every call as such and waits for its session; every call leaves one line."""
    caplog.set_level(logging.INFO, logger="agent.gateway")
    async with AsyncExitStack() as callers:
        async with gateway() as echo:
            calls = [
                await callers.enter_async_context(connect(echo.url, start=start(name)))
                for name in ("a", "b")
            ]
            not_started = await callers.enter_async_context(raw(echo.url))
        for call in calls:
            assert [message async for message in call] == [Ended(outcome=Outcome.SHUTDOWN)]
            assert call.close_code == CloseCode.GOING_AWAY
            assert not echo.sessions[call.id].cancelled
        assert (await closing(not_started))[0] == CloseCode.GOING_AWAY
    lines = sorted(record.message for record in caplog.records)
    assert len(lines) == 4
    assert lines[0].startswith("gateway listening on ws://127.0.0.1:")
    assert lines[1].startswith("gateway: call a shutdown after ")
    assert lines[2].startswith("gateway: call b shutdown after ")
    assert lines[3].startswith("gateway: connection refused: the gateway is shutting down")


async def test_a_call_goes_on_while_the_gateway_drains() -> None:
    """Asked to stop, it takes no more calls; those that run end by themselves."""
    stopping = Stopping()
    async with (
        gateway(stopping=stopping, drain_timeout=600.0) as echo,
        connect(echo.url, start=START) as call,
    ):
        stopping.drain.set()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ConnectError):
            async with connect(echo.url, start=start("late")):
                pass
        await call.send_text("goodbye")
        await until(call, Ended(outcome=Outcome.COMPLETED))


async def test_a_call_is_cut_off_when_there_is_no_time() -> None:
    """Asked to end at once, it waits for no session; the caller is told."""
    stopping = Stopping()
    async with (
        gateway(stopping=stopping, drain_timeout=600.0, grace=600.0) as echo,
        connect(echo.url, start=START) as call,
    ):
        await call.send_text("linger")
        await until(call, Words(speaker="user", text="linger", final=True))
        stopping.drain.set()
        stopping.now.set()
        await until(call, Ended(outcome=Outcome.SHUTDOWN))
        assert echo.sessions["made-up"].cancelled


async def test_where_nobody_can_listen() -> None:
    """An address that is taken is one clear error."""
    async with gateway() as echo:
        port = int(echo.url.rpartition(":")[2])
        with pytest.raises(ListenError, match=f"can't listen on 127.0.0.1:{port}: .*in use"):
            await serve(echo.open, port=port)


async def test_where_nobody_listens() -> None:
    """A gateway that isn't there is one clear error."""
    with pytest.raises(ConnectError, match="can't connect to ws://127"):
        async with connect("ws://127.0.0.1:1", start=START):
            pass


async def from_page(url: str, origin: str, *subprotocols: str) -> ClientConnection:
    """Call as a page of this origin would."""
    return await connect_websocket(
        url,
        subprotocols=[Subprotocol(name) for name in (SUBPROTOCOL, *subprotocols)],
        origin=Origin(origin),
        proxy=None,
    )


@pytest.mark.parametrize("page", [False, True])
async def test_another_page_cannot_call(page: bool) -> None:
    """A handshake that names an origin comes from a browser, which may be showing any page."""
    async with gateway(page=page) as echo:
        with pytest.raises(InvalidStatus) as refused:
            await from_page(echo.url, "https://example.com")
    assert refused.value.response.status_code == 403


async def test_the_own_page_calls() -> None:
    """The gateway's own page may call, with the token as a subprotocol where there is one."""
    async with gateway(page=True, token="s3cret") as echo:
        origin = echo.url.replace("ws", "http")
        with pytest.raises(InvalidStatus) as refused:
            await from_page(echo.url, origin, token_subprotocol("s3cre"))
        assert refused.value.response.status_code == 401
        async with await from_page(echo.url, origin, token_subprotocol("s3cret")) as caller:
            assert caller.subprotocol == SUBPROTOCOL
            await caller.send(encode(START))
            assert '"started"' in str(await caller.recv())


async def test_the_page() -> None:
    """Its files are served with a policy that keeps everything else out; there are no others."""
    async with (
        gateway(page=True) as echo,
        httpx.AsyncClient(trust_env=False, base_url=echo.url.replace("ws", "http")) as http,
    ):
        for path in Page().paths:
            found = await http.get(path)
            assert found.status_code == 200
            assert found.headers.items() >= {k.lower(): v for k, v in HEADERS.items()}.items()
        assert (await http.get("/?utm=1")).headers["Content-Type"] == "text/html; charset=utf-8"
        assert (await http.get("/main.js")).headers["Content-Type"].startswith("text/javascript")
        for path in ("/index.html", "/../server.py", "/%2e%2e/server.py", "/__init__.py"):
            assert (await http.get(path)).status_code == 404
        posted = await http.post("/")
        assert (posted.status_code, posted.headers["Allow"]) == (405, "GET")
        rebound = await http.get("/", headers={"Host": "evil.example"})
        assert rebound.status_code == 421


async def test_without_the_page() -> None:
    """A gateway that isn't asked for a page has none."""
    async with gateway() as echo, httpx.AsyncClient(trust_env=False) as http:
        found = await http.get(echo.url.replace("ws", "http") + "/")
    assert (found.status_code, SUBPROTOCOL in found.text) == (404, True)


def test_the_page_stands_alone() -> None:
    """Nothing it loads is from elsewhere or inline: its policy allows neither."""
    page = Page()
    for path in page.paths:
        found = page.find(path)
        assert found is not None
        text = found.text.replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1", "")
        assert not re.search(r"https?://", text), path
        assert not re.search(r"<style|<script(?![^>]* src=)|\bstyle=|\son\w+=", text), path
        for name in re.findall(r"""(?:src|href|from|URL\()=?\s?"\.?/?([\w.]+\.\w+)""", text):
            assert f"/{name}" in page.paths, f"{path} loads {name}"


async def test_typing_faster_than_anybody() -> None:
    """Ten typed turns at once are taken; the next one ends the call, and another's goes on."""
    async with gateway() as echo, connect(echo.url, start=start("other")) as other:
        async with raw(echo.url) as caller:
            await caller.send(encode(START))
            await caller.recv()
            for _ in range(MAX_TYPED_TURNS + 1):
                await caller.send(encode(Text(text="again")))
            assert await closing(caller) == (
                CloseCode.TOO_FAST,
                "more than 10 typed turns in 10 s",
            )
        await assert_answers(other)


async def test_pasting_more_than_anybody_reads() -> None:
    """Long turns are taken until they are too much together; then the call is closed, and why is
    said."""
    async with gateway() as echo, connect(echo.url, start=start("other")) as other:
        async with raw(echo.url) as caller:
            await caller.send(encode(START))
            await caller.recv()
            for _ in range(MAX_TYPED_CHARACTERS // MAX_TEXT_CHARACTERS + 1):
                await caller.send(encode(Text(text="a" * MAX_TEXT_CHARACTERS)))
            assert await closing(caller) == (
                CloseCode.TOO_FAST,
                "more than 20000 typed characters in 60 s",
            )
        await assert_answers(other)


async def test_audio_faster_than_real_time() -> None:
    """Who sends audio faster than anybody speaks is closed for that, and no other caller is."""
    async with gateway() as echo, connect(echo.url, start=start("other")) as other:
        assert await flood(echo.url, MINUTES_OF_AUDIO, messages=[START]) == (
            CloseCode.TOO_FAST,
            "more than 10 s of audio ahead of real time",
        )
        await assert_answers(other)


async def test_audio_after_goodbye() -> None:
    """Who hangs up and goes on sending is held to the same pace."""
    async with gateway(grace=0.5) as echo:
        goodbye = (START, Text(text="linger"), End())
        closed = await flood(echo.url, MINUTES_OF_AUDIO, messages=goodbye)
    assert closed is not None
    assert closed[0] == CloseCode.TOO_FAST


async def test_strangers_keep_nobody_out() -> None:
    """Connections that never say ``start`` hold no session's place."""
    async with gateway(max_sessions=1) as echo, AsyncExitStack() as strangers:
        for _ in range(20):
            await strangers.enter_async_context(raw(echo.url))
        async with connect(echo.url, start=START) as call:
            await assert_answers(call)


async def test_more_strangers_than_there_may_be() -> None:
    """The connection that has waited longest for its ``start`` makes room, and is told; so does
    one that hasn't asked for anything; calls that have begun never do."""
    async with gateway(max_strangers=2) as echo, connect(echo.url, start=START) as call:
        host, port = echo.url.removeprefix("ws://").split(":")
        async with AsyncExitStack() as strangers:
            mute = await strangers.enter_async_context(await anyio.connect_tcp(host, int(port)))
            first = await strangers.enter_async_context(raw(echo.url))
            await strangers.enter_async_context(raw(echo.url))
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await mute.receive()
            await strangers.enter_async_context(raw(echo.url))
            code, reason = await closing(first)
        assert code == CloseCode.TRY_AGAIN_LATER
        assert reason is not None
        assert "too many connections without 'start'" in reason
        await assert_answers(call)


async def test_places_are_counted_when_they_are_taken() -> None:
    """Of two that connected while there was one place, who says ``start`` first has it."""
    async with (
        gateway(max_sessions=1) as echo,
        raw(echo.url) as late,
        connect(echo.url, start=START) as call,
    ):
        await late.send(encode(START))
        assert (await closing(late))[0] == CloseCode.TRY_AGAIN_LATER
        await assert_answers(call)


async def test_two_calls_are_never_one_conversation() -> None:
    """An id is one live call's: a second with the same is refused, a later one is not."""
    async with gateway() as echo:
        async with connect(echo.url, start=start("mine")) as call:
            with pytest.raises(Disconnected, match="a call with the id mine has not ended") as it:
                async with connect(echo.url, start=start("mine")):
                    pass
            assert it.value.code == CloseCode.ID_TAKEN
            await assert_answers(call)
            await call.end()
            await until(call, Ended(outcome=Outcome.HUNG_UP))
            assert [message async for message in call] == []
        async with connect(echo.url, start=start("mine")) as call:
            await assert_answers(call)
