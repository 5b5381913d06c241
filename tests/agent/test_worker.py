"""A worker with real models behind a real gateway: how conversations end, well or badly."""

from __future__ import annotations

import contextlib
import functools
import gc
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from livekit.agents import Agent

from agent import gateway, providers
from agent.desk import FrontDesk
from agent.desk.script import DeskScript
from agent.session import AgentError
from agent.worker import YOUNG_OBJECTS, load, worker
from telemetry.attributes import CALLER_GAP, CONVERSATION_OUTCOME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telemetry.testing import Captured

AGENT = "tests.agent.breaking:BreakingAgent"
SILENCE = bytes(640)


@asynccontextmanager
async def serving(agent: str = AGENT) -> AsyncIterator[tuple[str, anyio.CancelScope]]:
    """The gateway's URL, and the scope that stops it."""
    async with (
        worker(providers.Choice(), agent=agent, environ={}) as open_session,
        anyio.create_task_group() as tasks,
    ):
        url = await tasks.start(functools.partial(gateway.serve, open_session, port=0, grace=5.0))
        yield url, tasks.cancel_scope
        tasks.cancel_scope.cancel()


def _start(name: str) -> gateway.Start:
    return gateway.Start(sample_rate=16000, id=name, user={"id": name}, tags={"who": name})


async def _until(call: gateway.Call, wanted: Callable[[object], bool]) -> list[object]:
    """What the gateway sends, up to and with the message that is wanted."""
    seen: list[object] = []
    with anyio.fail_after(30):
        async for message in call:
            seen.append(message)
            if wanted(message):
                return seen
    raise AssertionError(
        f"not seen before the end: {[m for m in seen if not isinstance(m, bytes)]}"
    )


def _said(text: str) -> Callable[[object], bool]:
    return lambda m: isinstance(m, gateway.Words) and m.speaker == "agent" and text in m.text


def _listening(message: object) -> bool:
    return isinstance(message, gateway.State) and message.agent == "listening"


def _answering(message: object) -> bool:
    return isinstance(message, gateway.State) and message.agent in ("thinking", "speaking")


def _ended(message: object) -> bool:
    return isinstance(message, gateway.Ended)


async def _hold(url: str, name: str, *typed: str) -> str:
    """A call that types its turns, then says goodbye; the outcome."""
    async with gateway.connect(url, start=_start(name)) as call:
        await _until(call, _said("Hello"))
        await _until(call, _listening)
        for text in typed:
            await call.send_text(text)
            await _until(call, _answering)
            await _until(call, _listening)
        if name == "voice":  # it stays silent, and listens again
            await call.send_text("the voice")
            await _until(call, _answering)
            await _until(call, _listening)
        await call.send_text("goodbye")
        *_, ended = await _until(call, _ended)
    assert isinstance(ended, gateway.Ended)
    return ended.outcome.value


def _by_user(captured: Captured) -> dict[str, dict[str, Any]]:
    assert len(captured.conversations) == len(captured.transactions)
    return {event["user"]["id"]: event for event in captured.conversations}


def _outcome(event: dict[str, Any]) -> str:
    return str(event["contexts"]["trace"]["data"][CONVERSATION_OUTCOME])


def _failed(event: dict[str, Any]) -> set[str]:
    return {span["op"] for span in event["spans"] if span["status"] == "internal_error"}


async def test_what_breaks_in_one_conversation_stays_there(captured: Captured) -> None:
    """A tool, model or voice that raises marks its own transaction; the others don't notice."""
    outcomes: dict[str, str] = {}

    async with serving() as (url, _), anyio.create_task_group() as calls:

        async def call(name: str, *typed: str) -> None:
            outcomes[name] = await _hold(url, name, *typed)

        calls.start_soon(call, "well", "one", "two")
        calls.start_soon(call, "tool", "break the tool")
        calls.start_soon(call, "model", "break the model")
        calls.start_soon(call, "voice")

    events = _by_user(captured)
    assert set(outcomes.values()) == {"completed"}
    assert {name: _outcome(event) for name, event in events.items()} == outcomes
    assert _failed(events["well"]) == set()
    assert "gen_ai.execute_tool" in _failed(events["tool"])
    assert "gen_ai.chat" in _failed(events["model"])
    assert "tts.synthesize" in _failed(events["voice"])
    assert all(event["tags"]["who"] == name for name, event in events.items())
    blamed = {
        (error["user"]["id"], error["exception"]["values"][-1]["value"])
        for error in captured.errors
        if "exception" in error
    }
    assert blamed == {
        ("tool", "tool failure"),
        ("model", "model failure"),
        ("voice", "voice failure"),
    }


async def test_however_a_call_ends_its_conversation_is_closed(captured: Captured) -> None:
    """Hanging up, vanishing, breaking the protocol, shutting down: each is a named outcome."""
    async with serving() as (url, stop):
        async with gateway.connect(url, start=_start("polite")) as call:
            await _until(call, _said("Hello"))
            await call.end()
            await _until(call, _ended)
        async with gateway.connect(url, start=_start("mid-greeting")) as call:
            await _until(call, lambda message: isinstance(message, bytes))
        async with gateway.connect(url, start=_start("rude")) as call:
            with contextlib.suppress(gateway.Disconnected):
                await call._websocket.send(b"not twenty milliseconds")
                await _until(call, _ended)
        async with gateway.connect(url, start=_start("cut-off")) as call:
            await _until(call, _said("Hello"))
            stop.cancel()
            with contextlib.suppress(gateway.Disconnected):
                with anyio.CancelScope(shield=True):
                    await _until(call, _ended)
            await checkpoint()

    assert {name: _outcome(event) for name, event in _by_user(captured).items()} == {
        "polite": "hung_up",
        "mid-greeting": "hung_up",
        "rude": "refused",
        "cut-off": "shutdown",
    }
    assert captured.runtime.stats().orphan_spans == 0


async def test_an_agent_that_cannot_be_made_fails_its_conversation(captured: Captured) -> None:
    """The caller is told, the transaction is marked, the gateway goes on."""
    async with serving("tests.agent.test_worker:Unmakeable") as (url, _):
        for name in ("first", "second"):
            async with gateway.connect(url, start=_start(name)) as call:
                *_, ended = await _until(call, _ended)
            assert isinstance(ended, gateway.Ended)
            assert ended.outcome == "failed"

    events = _by_user(captured)
    assert [_outcome(events[name]) for name in ("first", "second")] == ["failed", "failed"]
    assert {event["contexts"]["trace"]["status"] for event in events.values()} == {"internal_error"}


class Unmakeable(Agent):
    """An agent whose constructor raises."""

    def __init__(self) -> None:
        raise RuntimeError("no agent today")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("desk", "module:Class"),
        ("no_such_module:Desk", "no_such_module"),
        ("agent.desk:Nobody", "has no 'Nobody'"),
        ("agent.desk:House", "no livekit Agent"),
    ],
)
async def test_an_agent_that_is_not_one_is_refused_in_one_line(path: str, problem: str) -> None:
    """The message names the setting and what is wrong with it."""
    with pytest.raises(AgentError, match=problem) as raised:
        async with worker(providers.Choice(), agent=path, environ={}):
            pass
    assert str(raised.value).startswith("PARLEY_AGENT=")
    assert "\n" not in str(raised.value)


async def test_what_is_typed_at_any_moment_is_harmless(captured: Captured) -> None:
    """Typed before the session has started it is answered; after the goodbye it is ignored."""
    async with serving() as (url, _), gateway.connect(url, start=_start("eager")) as call:
        await call.send_text("early")
        await _until(call, _said("You said early"))
        await call.send_text("goodbye")
        await _until(call, _said("Goodbye"))
        with contextlib.suppress(gateway.Disconnected):
            await call.send_text("one more thing")
        *_, ended = await _until(call, _ended)
    assert isinstance(ended, gateway.Ended)
    assert ended.outcome == "completed"
    assert _outcome(_by_user(captured)["eager"]) == "completed"


async def test_a_gap_told_at_any_moment_is_harmless(captured: Captured) -> None:
    """Told before the session has started, of what answers nobody's voice, of what was typed, by a
    number or anything else: counted, in no trace, and the call goes on."""
    told: tuple[Any, ...] = (0.7, -1.0, 1e300, None, "soon", [{}])
    async with serving() as (url, _), gateway.connect(url, start=_start("page")) as call:
        await call.send_gap(0.7)
        await _until(call, _said("Hello"))
        await call.send_text("early")
        await _until(call, lambda m: isinstance(m, gateway.AudioStarted))
        for seconds in told:
            await call.send_gap(seconds)
        await _until(call, _said("You said early"))
        await call.send_text("goodbye")
        *_, ended = await _until(call, _ended)
    assert isinstance(ended, gateway.Ended)
    assert ended.outcome == "completed"
    assert captured.runtime.stats().refused_gaps == 1 + len(told)
    spans = captured.spans(_by_user(captured)["page"])
    assert not any(CALLER_GAP in span.attributes for span in spans)


async def test_garbage_is_looked_for_in_what_calls_make() -> None:
    """Seldom, and not in what was loaded before them."""
    before = gc.get_threshold()
    gc.set_threshold(700)  # Python's own
    try:
        async with serving():
            assert gc.get_threshold()[0] == YOUNG_OBJECTS
            assert gc.get_freeze_count() > 0
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("llm", "many_calls", "own", "scripted"),
    [
        ("scripted", True, True, True),
        ("openai", True, True, False),
        ("scripted", False, False, False),
    ],
)
def test_sentences_that_are_made_ready(
    monkeypatch: pytest.MonkeyPatch, llm: str, many_calls: bool, own: bool, scripted: bool
) -> None:
    """Those that many calls will say: a script's where it speaks, none for a single call."""
    ready: list[str] = []
    models = SimpleNamespace(prepare=ready.extend)
    monkeypatch.setattr(providers, "load", lambda choice: models)
    load(providers.Choice(llm=(llm,)), agent="agent.desk:FrontDesk", many_calls=many_calls)
    assert set(FrontDesk.usual).issubset(ready) is own
    assert set(DeskScript.usual).issubset(ready) is scripted
