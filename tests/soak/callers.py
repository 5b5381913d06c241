"""Callers who come and go: they speak, type, hang up in the middle, and are turned away."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Final, Literal

from agent import gateway
from tests.bench.sessions import FRAME, RATE, caller_frames

Manner = Literal["speaks", "types", "leaves at once", "is said goodbye to", "types too much"]
"""A caller's way with a call."""
MANNERS: Final[dict[Manner, int]] = {
    "speaks": 4,
    "types": 4,
    "leaves at once": 2,
    "is said goodbye to": 2,
    "types too much": 1,
}
"""By how often each is met."""
End = Literal["ended", "hung up", "cut off", "sent away", "turned away", "nobody there"]
"""The end of a call, or of an attempt, as its caller saw it:

================  ==================================================================
ended             the gateway said ``ended``
hung up           the caller left without a word
cut off           the connection broke, as the process was killed
sent away         the gateway closed the connection in mid-call, and said why
turned away       the gateway was full, or about to end: no conversation began
nobody there      nobody listened, or answered in time
================  ==================================================================
"""
CHATTY: Final = ("look it up", "for four please", "break", "for how long")


@dataclass(slots=True)
class Called:
    """A call that a caller was told the beginning of."""

    id: str
    trace_id: str
    at: float
    """Monotonic seconds at which it was told so."""
    end: End | None = None
    over_at: float = float("inf")
    """Monotonic seconds at which its caller knew of its end."""


@dataclass(slots=True)
class Callers:
    """So many callers at a time, each drawn from the seed.

    ``url`` is where they call. :meth:`come` begins, :meth:`go` waits for the last of them.
    """

    url: str
    number: int
    seed: int
    longest: float
    """Seconds that a caller speaks or types, at most."""
    calls: list[Called] = field(default_factory=list)
    attempts: dict[End, int] = field(default_factory=dict)
    """The ends of all attempts."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _round: int = 0

    def come(self) -> None:
        """Begin to call."""
        self._over.clear()
        self._round += 1
        for number in range(self.number):
            chance = random.Random(f"{self.seed} {self._round} {number}")
            self._tasks.add(asyncio.create_task(self._come_and_go(number, chance)))

    async def go(self) -> None:
        """Call no more; the calls that go on come to their own end."""
        self._over.set()
        tasks, self._tasks = self._tasks, set()
        await asyncio.gather(*tasks)

    async def _come_and_go(self, number: int, chance: random.Random) -> None:
        await asyncio.sleep(number * 0.05)
        while not self._over.is_set():
            [manner] = chance.choices([*MANNERS], [*MANNERS.values()])
            end = await self._call(number, manner, chance)
            self.attempts[end] = self.attempts.get(end, 0) + 1
            await asyncio.sleep(chance.uniform(0.1, 1.5))

    async def _call(self, number: int, manner: Manner, chance: random.Random) -> End:
        """One attempt, whatever becomes of it."""
        called: Called | None = None
        left = False
        try:
            start = gateway.Start(sample_rate=RATE, user={"id": f"caller-{number}"})
            async with gateway.connect(self.url, start=start) as call:
                called = Called(call.id, call.trace_id, time.monotonic())
                self.calls.append(called)
                seconds = chance.uniform(1.0, self.longest)
                left = await _hold(call, number, manner, seconds, chance)
            end: End = "hung up" if left else "ended"
        except gateway.ConnectError:
            end = "nobody there"
        except gateway.Disconnected as closed:
            if called is None:
                end = "nobody there" if closed.code == 1006 else "turned away"
            else:
                end = "cut off" if closed.code == 1006 else "sent away"
        if called is not None:
            called.end, called.over_at = end, time.monotonic()
        return end


async def _hold(
    call: gateway.Call, number: int, manner: Manner, seconds: float, chance: random.Random
) -> bool:
    """Hold a call; True if the caller leaves without a word."""
    listening = asyncio.create_task(_listen(call))
    saying = asyncio.create_task(_say(call, number, manner, seconds, chance))
    try:
        done, _ = await asyncio.wait({listening, saying}, return_when=asyncio.FIRST_COMPLETED)
        if listening not in done and saying in done:
            saying.result()
            if manner == "leaves at once" or chance.random() < 0.3:
                return True
            if manner != "is said goodbye to":
                await call.end()
        await listening
        return False
    finally:
        for task in (listening, saying):
            task.cancel()
        await asyncio.gather(listening, saying, return_exceptions=True)


async def _listen(call: gateway.Call) -> None:
    async for _ in call:
        pass


async def _say(
    call: gateway.Call, number: int, manner: Manner, seconds: float, chance: random.Random
) -> None:
    """Speak or type, in real time, for so long."""
    over = time.monotonic() + seconds
    match manner:
        case "speaks":
            due = asyncio.get_running_loop().time()
            for frame in caller_frames(number, speaks=True):
                due += FRAME / RATE
                if time.monotonic() > over:
                    break
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                await call.send_audio(frame)
        case "types too much":
            for _ in range(30):
                await call.send_text("and more")
        case "leaves at once":
            await call.send_text(chance.choice(CHATTY))
        case _:
            while time.monotonic() < over:
                await call.send_text(chance.choice(CHATTY))
                await asyncio.sleep(chance.uniform(0.8, 2.0))
            if manner == "is said goodbye to":
                await call.send_text("goodbye")
