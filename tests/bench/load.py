"""A gateway under load: programs that serve it, and others that call it in real time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import numpy as np

from agent import gateway
from agent.worker import settle_memory

from .sessions import FRAME, RATE, TURN_SECONDS, sentences

if TYPE_CHECKING:
    from collections.abc import Callable

_TICK_SECONDS: Final = 0.005
_FRAME_BYTES: Final = 2 * FRAME
_FRAMES_A_TURN: Final = round(TURN_SECONDS * RATE / FRAME)


# -- programs --------------------------------------------------------------------------------------


def program(module: str, *options: object) -> subprocess.Popen[str]:
    """A program of this package, with pipes for its input and output."""
    command = [sys.executable, "-m", f"{__package__}.{module}", *map(str, options)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def tell(text: str) -> None:
    """Say something to whoever started this program."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def told(started: subprocess.Popen[str]) -> str:
    """The next that a program says."""
    assert started.stdout is not None
    return started.stdout.readline().strip()


# -- how a process fares ---------------------------------------------------------------------------


async def watch(seconds: float, *others: int) -> dict[str, float]:
    """This process's CPU in per cent of a core, its loop's lag in ms, and memory in MB at its peak,
    that of the ``others`` (process numbers) included.

    ``p50``, ``p99`` and ``max`` are of the lag as far as it is this process's own doing: what it
    worked while the loop was late. On a machine that does nothing else that is all of it; here
    other programs take their time as well, which ``wall``, the p99 of all lag, includes.
    """
    loop = asyncio.get_running_loop()
    settle_memory()
    lags: list[float] = []
    own: list[float] = []
    peak, began, worked = 0.0, loop.time(), time.process_time()
    while (now := loop.time()) < began + seconds:
        used = time.process_time()
        await asyncio.sleep(_TICK_SECONDS)
        lag = loop.time() - now - _TICK_SECONDS
        lags.append(lag * 1e3)
        own.append(min(lag, time.process_time() - used) * 1e3)
        if len(lags) % 200 == 1:  # it reads a file
            peak = max(peak, sum(map(_rss_mb, (os.getpid(), *others))))
    return {
        "cpu": (time.process_time() - worked) / (loop.time() - began) * 100,
        "p50": float(np.percentile(own, 50)),
        "p99": float(np.percentile(own, 99)),
        "max": max(own),
        "wall": float(np.percentile(lags, 99)),
        "rss": peak,
    }


def _rss_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# -- callers ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Caller:
    """A caller who says the same sentence once a turn; each begins at another point of its turn."""

    call: gateway.Call
    turn: bytes
    speech_frames: int
    """Frames until the sentence is over."""
    position: int
    """Frames of the turn that are sent."""
    is_whole: bool = False
    """True once the turn being sent was sent from its beginning."""
    answers: list[float] | None = None
    """Seconds from the end of each sentence to the answer; infinite where there was none."""
    asked_at: float | None = None

    async def send(self) -> None:
        """Send the next frame."""
        start = self.position * _FRAME_BYTES
        await self.call.send_audio(self.turn[start : start + _FRAME_BYTES])
        self.position += 1
        if self.position == self.speech_frames and self.is_whole:
            self.asked_at = time.monotonic()
        if self.position == _FRAMES_A_TURN:
            self.position, self.is_whole = 0, True
            self._missed()

    async def listen(self) -> None:
        """Take note of answers. What the agent says is thrown away."""
        with suppress(gateway.Disconnected):  # the gateway has measured, and ends
            async for message in self.call:
                if isinstance(message, gateway.AudioStarted) and self.asked_at is not None:
                    self._answered(time.monotonic() - self.asked_at)

    def _missed(self) -> None:
        if self.asked_at is not None:
            self._answered(float("inf"))

    def _answered(self, after: float) -> None:
        self.asked_at = None
        if self.answers is not None:
            self.answers.append(after)


async def call_all(
    url: str,
    callers: int,
    seconds: float,
    *,
    skip_seconds: float = 0.0,
    on_measure: Callable[[], object] = lambda: None,
) -> list[float]:
    """So many callers, for so long: the seconds that each answer took, infinite where none came.

    Those of the first ``skip_seconds`` don't count; then ``on_measure`` is called. One loop paces
    all: a task for each would cost as much as what is to be measured.
    """
    recordings = sentences()
    answers: list[float] = []
    start = gateway.Start(sample_rate=RATE)
    async with AsyncExitStack() as calls, anyio.create_task_group() as tasks:
        lines: list[_Caller] = []
        for number in range(callers):
            said = recordings[number % len(recordings)]
            line = _Caller(
                await calls.enter_async_context(gateway.connect(url, start=start)),
                turn=said.ljust(_FRAMES_A_TURN * _FRAME_BYTES, b"\0"),
                speech_frames=len(said) // _FRAME_BYTES,
                position=number * 37 % _FRAMES_A_TURN,
            )
            lines.append(line)
            tasks.start_soon(line.listen)
        began = anyio.current_time()
        count = 0
        with suppress(gateway.Disconnected):
            while (due := began + count * FRAME / RATE) < began + seconds:
                await anyio.sleep_until(due)
                if due >= began + skip_seconds and lines[0].answers is None:
                    for line in lines:
                        line.answers = answers
                        line.asked_at = None
                    on_measure()
                for line in lines:
                    await line.send()
                count += 1
        tasks.cancel_scope.cancel()
    return answers
