"""The page in a real browser: what people see first, and the only way in that needs no program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import wave
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream

from agent.gateway import Start, connect
from agent.simulator.check_trace import (
    WHEN_ANSWERED,
    WHEN_HEARD,
    WHEN_SPOKEN,
    check_latency,
    check_times,
    check_tree,
)
from telemetry.attributes import OP_TURN, RESPONSE_LATENCY
from telemetry.store import TraceStore
from tests.agent.gateway.sessions import Gateway, gateway

from .browser import Tab, chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import Process, TaskStatus

    from telemetry.records import ConversationRecord

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]  # the first may install Chromium

AUDIO: Final = Path(__file__).parents[2] / "config" / "scenarios" / "audio"
RATE: Final = 16_000
PHASE: Final = "document.body.dataset.phase"
WORDS: Final = "document.querySelector('#words').innerText"
PROBLEM: Final = "document.querySelector('#problem').innerText"
FOCUS: Final = "document.activeElement.id"
AGENT_LEVEL: Final = "document.querySelector('#agent-level').value"
LOUD: Final = f"{AGENT_LEVEL} > 0.3"
QUIET: Final = f"{AGENT_LEVEL} < 0.1"
ASKING: Final = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
"""A microphone that beeps, and a person who allows it."""


@asynccontextmanager
async def parley(command: str, folder: Path, ready: str, **environ: str) -> AsyncIterator[str]:
    """A ``parley`` command in ``folder``; yields what ``ready`` finds in its log, then stops it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PARLEY_", "SENTRY_"))}
    async with (
        await anyio.open_process(
            [sys.executable, "-c", "from agent.cli import main; main()", command, "--port", "0"],
            cwd=folder,
            env={**clean, **environ},
            stdout=subprocess.DEVNULL,
        ) as process,
        anyio.create_task_group() as tasks,
    ):
        try:
            yield await tasks.start(_follow, process, ready)
        finally:
            process.terminate()
            with anyio.fail_after(30, shield=True):
                await process.wait()


async def _follow(process: Process, ready: str, *, task_status: TaskStatus[str]) -> None:
    assert process.stderr is not None
    log, told = "", False
    async for text in TextReceiveStream(process.stderr, errors="replace"):
        log += text
        if not told and (found := re.search(ready, log)):
            task_status.started(found[1])
            told = True
    assert told, log


@asynccontextmanager
async def front_desk(folder: Path, **environ: str) -> AsyncIterator[str]:
    """``parley serve`` and the service it asks; the page's address."""
    async with (
        parley("reservations", folder, r"listening on (\S+)\s") as service,
        parley(
            "serve", folder, r"talk to it at (\S+)\s", PARLEY_RESERVATIONS_URL=service, **environ
        ) as url,
    ):
        yield url


def microphone(path: Path, *parts: str | float) -> list[str]:
    """Chromium's flags for a microphone that plays recordings and seconds of silence, once."""
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        for part in parts:
            if isinstance(part, str):
                with wave.open(str(AUDIO / f"{part}.wav")) as recording:
                    assert recording.getframerate() == RATE
                    out.writeframes(recording.readframes(recording.getnframes()))
            else:
                out.writeframes(bytes(2 * round(part * RATE)))
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}%noloop",
    ]


async def finished(folder: Path) -> ConversationRecord:
    """The only conversation in the store, once it is whole."""
    store = TraceStore(folder / "traces.db")
    with anyio.fail_after(20):
        while True:
            for found in store.conversations(limit=2):
                if (record := store.conversation(found.id)) and record.ended_at is not None:
                    return record
            await anyio.sleep(0.1)  # another process writes it: there is nothing to wait on


def problems(record: ConversationRecord, *, spoken: bool) -> list[str]:
    """What is wrong with its trace: the checks that fail, the ops that are missing."""
    ops = {span.op for span in record.spans}
    return [
        *check_tree(record),
        *check_times(record),
        *check_latency(record),
        *({*WHEN_HEARD, *WHEN_ANSWERED, *(WHEN_SPOKEN if spoken else ())} - ops),
    ]


@asynccontextmanager
async def page(folder: Path, *flags: str, **options: Any) -> AsyncIterator[tuple[Gateway, Tab]]:
    """The page in a browser, opened, before a gateway whose sessions echo."""
    async with (
        gateway(page=True, **options) as echo,
        chromium(folder / "profile", *flags) as tab,
    ):
        await tab.open(echo.url.replace("ws", "http"))
        await tab.until(f"{PHASE} === 'idle'")
        yield echo, tab


async def test_talking(tmp_path: Path) -> None:
    """Press, talk, read and hear the answers, see how long they took, hang up: a whole trace."""
    flags = microphone(
        tmp_path / "microphone.wav", 7.0, "opening_hours-1", 6.0, "opening_hours-2", 60.0
    )
    async with front_desk(tmp_path) as url, chromium(tmp_path / "profile", *flags) as tab:
        await tab.open(url)
        await tab.until(f"{PHASE} === 'idle'")
        await tab.click("#call")
        await tab.until(f"{PHASE} === 'open'")
        await tab.until(LOUD)
        await tab.until(f"{WORDS}.includes('closed on Monday')")
        await tab.until(f"{WORDS}.includes('open from noon')")
        await tab.until(QUIET)
        words = await tab.value(WORDS)
        assert "are you open on monday" in words.lower()
        assert "opening hours" in words
        facts = await tab.value("[...document.querySelectorAll('.fact')].map((f) => f.textContent)")
        shown = [int(found[1]) for fact in facts if (found := re.search(r"(\d+) ms", fact))]
        await tab.click("#call")
        await tab.until(f"{PHASE} === 'idle'")
        assert await tab.value("document.querySelector('#status').textContent") == "You hung up."
        assert tab.errors == []
        record = await finished(tmp_path)
    assert problems(record, spoken=True) == []
    told = [span for span in record.spans if RESPONSE_LATENCY in span.attributes]
    assert len(shown) == sum(span.op == OP_TURN for span in told) == 2
    assert all(seen > 0 for seen in shown)


async def test_by_keyboard(tmp_path: Path) -> None:
    """Start, mute, cut the agent short by typing, hang up: no pointer, focus in sight."""

    async def tab_to(tab: Tab, id: str) -> None:
        for _ in range(10):
            await tab.press("Tab")
            if await tab.value(FOCUS) == id:
                style = "getComputedStyle(document.activeElement).outlineStyle"
                assert await tab.value(style) == "solid"
                return
        raise AssertionError(f"Tab doesn't lead to {id}")

    flags = microphone(tmp_path / "microphone.wav", 60.0)
    async with front_desk(tmp_path) as url, chromium(tmp_path / "profile", *flags) as tab:
        await tab.open(url)
        await tab.until(f"{PHASE} === 'idle' && {FOCUS} === 'call'")
        await tab.press(" ")
        await tab.until(LOUD)  # it greets
        await tab_to(tab, "typed")
        await tab.type("Are you open on Monday?")
        await tab.press("Enter")
        await tab.until(f"{WORDS}.includes('interrupted')")
        await tab.until(f"{WORDS}.includes('closed on Monday')")
        await tab_to(tab, "mute")
        await tab.press("Enter")
        assert await tab.value("document.activeElement.ariaPressed") == "true"
        await tab_to(tab, "call")
        await tab.press("Enter")
        await tab.until(f"{PHASE} === 'idle'")
        assert tab.errors == []
        record = await finished(tmp_path)
    assert problems(record, spoken=False) == []


async def test_on_a_phone(tmp_path: Path) -> None:
    """At 360 by 640 nothing is cut off or scrolls sideways, and what is to be touched is large."""
    small = """[...document.querySelectorAll('button, input')].filter((control) => {
        const { left, right, bottom, width, height } = control.getBoundingClientRect();
        return height && (width < 44 || height < 44 || left < 0 || right > 360 || bottom > 640);
    }).map((control) => control.id)"""
    async with page(tmp_path, *ASKING) as (_, tab):
        await tab.resize(360, 640)
        for step in ("idle", "open", "said"):
            if step == "open":
                await tab.click("#call")
                await tab.until(f"{PHASE} === 'open'")
            elif step == "said":
                await tab.click("#typed")
                await tab.type("x" * 200)
                await tab.press("Enter")
                await tab.until(f"{WORDS}.includes('xxx')")
            assert await tab.value("document.documentElement.scrollWidth") == 360, step
            assert await tab.value("document.documentElement.scrollHeight") == 640, step
            assert await tab.value(small) == [], step
        assert tab.errors == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--use-fake-ui-for-media-stream=deny", ASKING[1]], "The microphone is blocked"),
        (["--use-fake-ui-for-media-stream"], "No microphone was found"),
    ],
)
async def test_without_a_microphone(tmp_path: Path, flags: list[str], said: str) -> None:
    """It says what is wrong with the microphone, and the call can be held by typing."""
    async with page(tmp_path, *flags) as (echo, tab):
        await tab.click("#call")
        assert said in await tab.until(PROBLEM)
        assert echo.sessions == {}
        await tab.click("#type-instead")
        await tab.until(f"{PHASE} === 'open'")
        await tab.click("#typed")
        await tab.type("use a tool")
        await tab.press("Enter")
        await tab.until("document.querySelectorAll('.tool').length")
        assert tab.errors == []


async def test_the_token(tmp_path: Path) -> None:
    """A gateway with a token is talked to by who has it; a wrong one is said to be wrong."""
    async with page(tmp_path, *ASKING, token="s3cret: ü") as (_, tab):
        assert await tab.value(FOCUS) == "token"
        await tab.type("guess")
        await tab.press("Enter")
        assert "didn't accept this token" in await tab.until(PROBLEM)
        await tab.until(f"{PHASE} === 'idle'")
        await tab.value("document.querySelector('#token').value = 's3cret: ü'")
        await tab.click("#call")
        await tab.until(f"{PHASE} === 'open'")
        assert "s3cret" not in await tab.value("location.href")


async def test_all_lines_busy(tmp_path: Path) -> None:
    """Who is one too many is told so, and can try again when a line is free."""
    async with page(tmp_path, *ASKING, max_sessions=1) as (echo, tab):
        async with connect(echo.url, start=Start(sample_rate=16000)):
            await tab.click("#call")
            assert "All lines are busy" in await tab.until(PROBLEM)
            await tab.until(f"{PHASE} === 'idle'")
        await tab.click("#call")
        await tab.until(f"{PHASE} === 'open'")
        await tab.until(LOUD)  # the microphone's beep comes back
        await tab.click("#typed")
        await tab.type("goodbye")
        await tab.press("Enter")
        await tab.until(f"{PHASE} === 'idle'")
        assert "said goodbye" in await tab.value("document.querySelector('#status').textContent")
        assert tab.errors == []


async def test_a_lost_connection(tmp_path: Path) -> None:
    """A connection that breaks is said to have, and the page is ready for the next call."""
    async with gateway(page=True) as echo, chromium(tmp_path / "profile", *ASKING) as tab:
        async with relay(int(echo.url.rpartition(":")[2])) as url:
            await tab.open(url)
            await tab.until(f"{PHASE} === 'idle'")
            await tab.click("#call")
            await tab.until(f"{PHASE} === 'open'")
        assert await tab.until(PROBLEM) == "The connection was lost."
        await tab.until(f"{PHASE} === 'idle'")


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[str]:
    """A way to the gateway that breaks at the end of the block; its address."""

    async def carry(source: anyio.abc.SocketStream, target: anyio.abc.SocketStream) -> None:
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            async for data in source:
                await target.send(data)
        await target.aclose()

    async def handle(browser: anyio.abc.SocketStream) -> None:
        async with (
            browser,
            await anyio.connect_tcp("127.0.0.1", port) as server,
            anyio.create_task_group() as ways,
        ):
            ways.start_soon(carry, browser, server)
            ways.start_soon(carry, server, browser)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        own = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 (not Django's)
        yield f"http://127.0.0.1:{own}"
        tasks.cancel_scope.cancel()


async def test_another_page_cannot_call(tmp_path: Path) -> None:
    """A page of another origin, with no policy of its own to stop it, is refused by the gateway."""
    attempt = """new Promise((resolve) => {
        const socket = new WebSocket("%s", ["parley.v1"]);
        socket.onopen = () => resolve("opened");
        socket.onerror = () => resolve("refused");
    })"""
    async with gateway(page=True) as other, page(tmp_path, *ASKING) as (echo, tab):
        await tab.command("Page.setBypassCSP", enabled=True)
        await tab.open(echo.url.replace("ws", "http"))
        assert await tab.value(attempt % echo.url) == "opened"
        assert await tab.value(attempt % other.url) == "refused"
        assert any("403" in error for error in tab.errors)
