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
from playwright.async_api import expect

from agent.gateway import Start, connect
from agent.simulator.check_trace import (
    WHEN_ANSWERED,
    WHEN_HEARD,
    WHEN_SPOKEN,
    check_latency,
    check_times,
    check_tree,
)
from telemetry.attributes import CALLER_GAP, OP_RESPONSE, OP_TURN, RESPONSE_LATENCY
from telemetry.store import TraceStore
from tests.agent.gateway.sessions import Gateway, gateway

from .chromium import PATIENCE_SECONDS, chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import Process, TaskStatus
    from playwright.async_api import Page

    from telemetry.records import ConversationRecord

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]  # the first may install Chromium

AUDIO: Final = Path(__file__).parents[2] / "config" / "scenarios" / "audio"
RATE: Final = 16_000
FOCUS: Final = "document.activeElement.id"
_WHEN: Final = """(meter) => new Promise((resolve) => {{
    const look = () => meter.value {} ? resolve() : requestAnimationFrame(look);
    look();
}})"""
LOUD: Final = _WHEN.format("> 0.3")
QUIET: Final = _WHEN.format("< 0.1")
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
async def page(
    *flags: str, viewing: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Gateway, Page, list[str]]]:
    """The page in a browser, opened, before a gateway whose sessions echo; and its errors.

    ``viewing`` are options of the browser, ``options`` those of the gateway.
    """
    async with (
        gateway(page=True, **options) as echo,
        chromium(*flags, **(viewing or {})) as (tab, errors),
    ):
        await tab.goto(echo.url.replace("ws", "http"))
        await phase(tab, "idle")
        yield echo, tab, errors


async def phase(tab: Page, name: str) -> None:
    """Wait until the call is in this phase."""
    await expect(tab.locator("body")).to_have_attribute("data-phase", name)


async def reads(tab: Page, words: str) -> None:
    """Wait until these words are among those of the conversation."""
    await expect(tab.locator("#words")).to_contain_text(words, use_inner_text=True)


async def sounds(tab: Page, level: str) -> None:
    """Wait until the agent is :data:`LOUD` or :data:`QUIET`."""
    with anyio.fail_after(PATIENCE_SECONDS):
        await tab.locator("#agent-level").evaluate(level)


async def problem(tab: Page) -> str:
    """The problem that the page shows first from now on."""
    shown = tab.locator("#problem")
    await expect(shown).to_be_visible()
    return await shown.inner_text()


async def write(tab: Page, text: str) -> None:
    """Type into what has the focus, and send it."""
    await tab.keyboard.insert_text(text)
    await tab.keyboard.press("Enter")


async def test_talking(tmp_path: Path) -> None:
    """Press, talk, read and hear the answers, see how long they took, hang up: a whole trace, with
    the times that the page has shown."""
    flags = microphone(
        tmp_path / "microphone.wav", 7.0, "opening_hours-1", 6.0, "opening_hours-2", 60.0
    )
    async with front_desk(tmp_path) as url, chromium(*flags) as (tab, errors):
        await tab.goto(url)
        await phase(tab, "idle")
        await tab.click("#call")
        await phase(tab, "open")
        await sounds(tab, LOUD)
        await reads(tab, "closed on Monday")
        await reads(tab, "open from noon")
        await sounds(tab, QUIET)
        words = await tab.locator("#words").inner_text()
        assert "are you open on monday" in words.lower()
        assert "opening hours" in words
        facts = await tab.locator(".fact").all_text_contents()
        shown = [int(found[1]) for fact in facts if (found := re.search(r"(\d+) ms", fact))]
        await tab.click("#call")
        await phase(tab, "idle")
        assert await tab.locator("#status").text_content() == "You hung up."
        assert errors == []
        record = await finished(tmp_path)
    assert problems(record, spoken=True) == []
    told = [span for span in record.spans if RESPONSE_LATENCY in span.attributes]
    assert len(shown) == sum(span.op == OP_TURN for span in told) == 2
    assert all(seen > 0 for seen in shown)
    responses = sorted(
        (span for span in told if span.op == OP_RESPONSE), key=lambda span: span.started_at
    )
    gaps = [1000 * span.attributes[CALLER_GAP] for span in responses]
    assert shown == pytest.approx(gaps, abs=1)


async def test_by_keyboard(tmp_path: Path) -> None:
    """Start, mute, cut the agent short by typing, hang up: no pointer, focus in sight."""

    async def tab_to(tab: Page, id: str) -> None:
        for _ in range(10):
            await tab.keyboard.press("Tab")
            if await tab.evaluate(FOCUS) == id:
                style = "getComputedStyle(document.activeElement).outlineStyle"
                assert await tab.evaluate(style) == "solid"
                return
        raise AssertionError(f"Tab doesn't lead to {id}")

    flags = microphone(tmp_path / "microphone.wav", 60.0)
    async with front_desk(tmp_path) as url, chromium(*flags) as (tab, errors):
        await tab.goto(url)
        await phase(tab, "idle")
        await expect(tab.locator("#call")).to_be_focused()
        await tab.keyboard.press(" ")
        await sounds(tab, LOUD)  # it greets
        await tab_to(tab, "typed")
        await write(tab, "Are you open on Monday?")
        await reads(tab, "interrupted")
        await reads(tab, "closed on Monday")
        await tab_to(tab, "mute")
        await tab.keyboard.press("Enter")
        assert await tab.evaluate("document.activeElement.ariaPressed") == "true"
        await tab_to(tab, "call")
        await tab.keyboard.press("Enter")
        await phase(tab, "idle")
        assert errors == []
        record = await finished(tmp_path)
    assert problems(record, spoken=False) == []


async def test_on_a_phone() -> None:
    """At 360 by 640 nothing is cut off or scrolls sideways, and what is to be touched is large."""
    small = """[...document.querySelectorAll('button, input')].filter((control) => {
        const { left, right, bottom, width, height } = control.getBoundingClientRect();
        return height && (width < 44 || height < 44 || left < 0 || right > 360 || bottom > 640);
    }).map((control) => control.id)"""
    phone = {"viewport": {"width": 360, "height": 640}, "is_mobile": True}
    async with page(*ASKING, viewing=phone) as (_, tab, errors):
        for step in ("idle", "open", "said"):
            if step == "open":
                await tab.click("#call")
                await phase(tab, "open")
            elif step == "said":
                await tab.click("#typed")
                await write(tab, "x" * 200)
                await reads(tab, "xxx")
            assert await tab.evaluate("document.documentElement.scrollWidth") == 360, step
            assert await tab.evaluate("document.documentElement.scrollHeight") == 640, step
            assert await tab.evaluate(small) == [], step
        assert errors == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--use-fake-ui-for-media-stream=deny", ASKING[1]], "The microphone is blocked"),
        (["--use-fake-ui-for-media-stream"], "No microphone was found"),
    ],
)
async def test_without_a_microphone(flags: list[str], said: str) -> None:
    """It says what is wrong with the microphone, and the call can be held by typing."""
    async with page(*flags) as (echo, tab, errors):
        await tab.click("#call")
        assert said in await problem(tab)
        assert echo.sessions == {}
        await tab.click("#type-instead")
        await phase(tab, "open")
        await tab.click("#typed")
        await write(tab, "use a tool")
        await expect(tab.locator(".tool")).not_to_have_count(0)
        assert errors == []


async def test_the_token() -> None:
    """A gateway with a token is talked to by who has it; a wrong one is said to be wrong."""
    async with page(*ASKING, token="s3cret: ü") as (_, tab, _):
        assert await tab.evaluate(FOCUS) == "token"
        await write(tab, "guess")
        assert "didn't accept this token" in await problem(tab)
        await phase(tab, "idle")
        await tab.fill("#token", "s3cret: ü")
        await tab.click("#call")
        await phase(tab, "open")
        assert "s3cret" not in tab.url


async def test_all_lines_busy() -> None:
    """Who is one too many is told so, and can try again when a line is free."""
    async with page(*ASKING, max_sessions=1) as (echo, tab, errors):
        async with connect(echo.url, start=Start(sample_rate=16000)):
            await tab.click("#call")
            assert "All lines are busy" in await problem(tab)
            await phase(tab, "idle")
        await tab.click("#call")
        await phase(tab, "open")
        await sounds(tab, LOUD)  # the microphone's beep comes back
        await tab.click("#typed")
        await write(tab, "goodbye")
        await phase(tab, "idle")
        assert "said goodbye" in (await tab.locator("#status").text_content() or "")
        assert errors == []


async def test_a_lost_connection() -> None:
    """A connection that breaks is said to have, and the page is ready for the next call."""
    async with gateway(page=True) as echo, chromium(*ASKING) as (tab, _):
        async with relay(int(echo.url.rpartition(":")[2])) as url:
            await tab.goto(url)
            await phase(tab, "idle")
            await tab.click("#call")
            await phase(tab, "open")
        assert await problem(tab) == "The connection was lost."
        await phase(tab, "idle")


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
    async with (
        gateway(page=True) as other,
        page(*ASKING, viewing={"bypass_csp": True}) as (echo, tab, errors),
    ):
        assert await tab.evaluate(attempt % echo.url) == "opened"
        assert await tab.evaluate(attempt % other.url) == "refused"
        assert any("403" in error for error in errors)
