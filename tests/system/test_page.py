"""The page in a real browser: what people see first, and the only way in that needs no program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import wave
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from agent.simulator.verdict import check_latency, check_ops, check_times, check_tree
from telemetry.attributes import OP_TURN, RESPONSE_LATENCY
from telemetry.store import TraceStore

from .browser import chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import Process, TaskStatus

    from telemetry.records import ConversationRecord

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

AUDIO: Final = Path(__file__).parents[2] / "config" / "scenarios" / "audio"
RATE: Final = 16_000
NO_MICROPHONE: Final = "--use-fake-ui-for-media-stream=deny"
LAST_AGENT: Final = "[...document.querySelectorAll('.turn.agent .said')].at(-1)?.textContent"


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
    """What is wrong with its trace."""
    return [
        *check_tree(record),
        *check_times(record),
        *check_ops(record, spoken=spoken),
        *check_latency(record),
    ]


async def test_talking(tmp_path: Path) -> None:
    """Press, talk, read and hear the answers, see how long they took, hang up: a whole trace."""
    flags = microphone(
        tmp_path / "microphone.wav", 7.0, "opening_hours-1", 6.0, "opening_hours-2", 60.0
    )
    async with front_desk(tmp_path) as url, chromium(tmp_path / "profile", *flags) as tab:
        await tab.open(url)
        await tab.until("document.body.dataset.phase === 'idle'")
        await tab.click("#call")
        await tab.until("document.body.dataset.phase === 'open'")
        await tab.until("document.querySelector('#agent-level').value > 0.3")
        await tab.until("document.querySelector('#words').innerText.includes('closed on Monday')")
        await tab.until("document.querySelector('#words').innerText.includes('open from noon')")
        await tab.until("document.querySelector('#agent-level').value < 0.1")
        words = await tab.value("document.querySelector('#words').innerText")
        assert "are you open on monday" in words.lower()
        assert "opening hours" in words
        figures = await tab.value(
            "[...document.querySelectorAll('.fact')].map((fact) => fact.textContent)"
        )
        shown = [int(found[1]) for fact in figures if (found := re.search(r"(\d+) ms", fact))]
        await tab.click("#call")
        await tab.until("document.body.dataset.phase === 'idle'")
        assert await tab.value("document.querySelector('#status').textContent") == "You hung up."
        assert tab.errors == []
        record = await finished(tmp_path)
    assert problems(record, spoken=True) == []
    told = [
        1000 * span.attributes[RESPONSE_LATENCY]
        for span in record.spans
        if span.op == OP_TURN and RESPONSE_LATENCY in span.attributes
    ]
    assert len(shown) == len(told) == 2
