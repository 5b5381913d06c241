"""What is kept of speech, for whom it is made, and who waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import closing
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from agent.providers.inference import Threads
from agent.providers.spoken import Spoken

from .test_inference import occupied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Maker:
    """Speech that says which one it is, as many bytes long as asked for."""

    def __init__(self, size: int = 1) -> None:
        self.made: Counter[str] = Counter()
        self._size = size

    def of(self, clause: str) -> Callable[[], bytes]:
        """A call that makes it."""
        return partial(self._make, clause)

    def _make(self, clause: str) -> bytes:
        self.made[clause] += 1
        return f"{clause} {self.made[clause]}".encode().ljust(self._size)


@pytest.fixture
def maker() -> Maker:
    """A maker of small clauses."""
    return Maker()


@pytest.fixture
def threads() -> Iterator[Threads]:
    """One thread."""
    with closing(Threads(1)) as threads:
        yield threads


async def test_what_two_sessions_say_is_kept(threads: Threads, maker: Maker) -> None:
    """The third needs no thread for it, and isn't kept waiting by those that are busy."""
    spoken = Spoken(threads)
    for session in (1, 2):
        await spoken.get("Hello.", maker.of("Hello."), session=session)
    async with occupied(threads):
        assert await spoken.get("Hello.", maker.of("Hello."), session=3) == b"Hello. 2"
    assert maker.made["Hello."] == 2


async def test_what_one_caller_is_told_is_not_kept(threads: Threads, maker: Maker) -> None:
    """However often it is said to the one: it may be theirs alone, as a name is."""
    spoken = Spoken(threads)
    for times in (1, 2, 3):
        said = await spoken.get("Thank you, Ada.", maker.of("Thank you, Ada."), session=1)
        assert said == b"Thank you, Ada. %d" % times
    assert not spoken.kept_bytes


async def test_what_is_prepared_is_said_at_once(threads: Threads, maker: Maker) -> None:
    """The first caller too needs no thread for it; to prepare it again costs nothing."""
    spoken = Spoken(threads)
    async with occupied(threads):
        for _ in range(2):
            spoken.prepare("Hello.", maker.of("Hello."))
    await threads.run(lambda: None, spare=120.0)  # after it
    spoken.prepare("Hello.", maker.of("Hello."))
    async with occupied(threads):
        assert await spoken.get("Hello.", maker.of("Hello."), session=1) == b"Hello. 1"


async def test_nobody_waits_for_what_is_prepared(threads: Threads, maker: Maker) -> None:
    """Who is called first gets the words before those that are prepared for others."""
    spoken = Spoken(threads)
    async with occupied(threads):
        for clause in ("Hello.", "Goodbye."):
            spoken.prepare(clause, maker.of(clause))
        said = asyncio.create_task(spoken.get("Goodbye.", maker.of("Goodbye."), session=1))
        await asyncio.sleep(0)
    assert await said == b"Goodbye. 1"
    await threads.run(lambda: None, spare=120.0)  # after all of them
    assert list(maker.made) == ["Goodbye.", "Hello."]


async def test_what_can_not_be_prepared_is_asked_for_again(threads: Threads, maker: Maker) -> None:
    """A failure before anybody has asked costs whoever does nothing."""
    spoken = Spoken(threads)

    def fails() -> bytes:
        maker.of("Hello.")()
        raise OSError

    spoken.prepare("Hello.", fails)
    await threads.run(lambda: None, spare=120.0)  # after it
    assert await spoken.get("Hello.", maker.of("Hello."), session=1) == b"Hello. 2"


async def test_what_two_want_at_once_is_made_once(threads: Threads, maker: Maker) -> None:
    """The second to ask gets what is being made for the first, and so does the next caller."""
    spoken = Spoken(threads)
    async with asyncio.TaskGroup() as tasks, occupied(threads):
        said = [
            tasks.create_task(spoken.get("Hello.", maker.of("Hello."), session=session))
            for session in (1, 2)
        ]
        await asyncio.sleep(0)
    assert [task.result() for task in said] == [b"Hello. 1"] * 2
    assert await spoken.get("Hello.", maker.of("Hello."), session=3) == b"Hello. 1"


@pytest.mark.parametrize("gone", [0, 1])
async def test_one_who_leaves_costs_the_other_nothing(
    threads: Threads, maker: Maker, gone: int
) -> None:
    """Whichever of the two is cancelled, the other gets the speech, made once."""
    spoken = Spoken(threads)
    async with occupied(threads):
        said = [
            asyncio.create_task(spoken.get("Hello.", maker.of("Hello."), session=session))
            for session in (1, 2)
        ]
        await asyncio.sleep(0)
        said[gone].cancel()
        with pytest.raises(asyncio.CancelledError):
            await said[gone]
    assert await said[1 - gone] == b"Hello. 1"


async def test_what_nobody_waits_for_is_not_made(threads: Threads, maker: Maker) -> None:
    """When all who wanted it have gone, it takes no thread's time; who asks then, gets it."""
    spoken = Spoken(threads)
    async with occupied(threads):
        for session in (1, 2):
            said = asyncio.create_task(spoken.get("Hm.", maker.of("Hm."), session=session))
            await asyncio.sleep(0)
            said.cancel()
            with pytest.raises(asyncio.CancelledError):
                await said
        again = asyncio.create_task(spoken.get("Hm.", maker.of("Hm."), session=1))
        await asyncio.sleep(0)
    assert await again == b"Hm. 1"


async def test_nobody_waits_for_what_can_wait(threads: Threads, maker: Maker) -> None:
    """What another wants only later is made anew for whoever needs it now."""
    spoken = Spoken(threads)
    served: list[str] = []

    def make(who: str) -> bytes:
        served.append(who)
        return b"Hello."

    async with asyncio.TaskGroup() as tasks, occupied(threads):
        for who, session, spare in (("later", 1, 60.0), ("now", 2, 0.0), ("soon", 3, 9.0)):
            tasks.create_task(
                spoken.get("Hello.", partial(make, who), session=session, spare=spare)
            )
            await asyncio.sleep(0)
    assert served == ["now", "later"]


async def test_what_is_being_made_is_waited_for(threads: Threads) -> None:
    """Its call has begun and comes first, however long it could have waited."""
    spoken, begun, finish = Spoken(threads), threading.Event(), threading.Event()
    served: list[str] = []

    def make(who: str) -> bytes:
        served.append(who)
        begun.set()
        finish.wait(20)
        return b"Hello."

    later = asyncio.create_task(spoken.get("Hello.", partial(make, "later"), session=1, spare=60.0))
    assert await asyncio.to_thread(begun.wait, 20)
    now = asyncio.create_task(spoken.get("Hello.", partial(make, "now"), session=2))
    await asyncio.sleep(0)
    finish.set()
    assert [await later, await now] == [b"Hello."] * 2
    assert served == ["later"]


async def test_a_failure_is_everybodys_and_the_next_one_tries_again(threads: Threads) -> None:
    """Nothing is kept of it."""
    spoken = Spoken(threads)
    numbers = count()

    def make() -> bytes:
        return bytes(1 // next(numbers))

    async with occupied(threads):
        said = [
            asyncio.create_task(spoken.get("Hello.", make, session=session)) for session in (1, 2)
        ]
        await asyncio.sleep(0)
    for task in said:
        with pytest.raises(ZeroDivisionError):
            await task
    assert await spoken.get("Hello.", make, session=3) == bytes(1)


async def test_memory_is_bounded(threads: Threads) -> None:
    """What was said least lately goes first; what is larger than all of the room isn't kept."""
    spoken, maker = Spoken(threads, kept_bytes=100), Maker(30)

    async def say(clause: str) -> None:
        for session in (1, 2):
            await spoken.get(clause, maker.of(clause), session=session)

    for clause in ("a", "b", "c", "a", "d"):
        await say(clause)
        assert spoken.kept_bytes <= 100
    assert maker.made == Counter(a=2, b=2, c=2, d=2)
    await say("a")
    await say("b")  # gone for "d", which was new when "a" had just been said
    assert maker.made == Counter(a=2, b=4, c=2, d=2)
    large = b"".ljust(101)
    for session in (1, 2):
        await spoken.get("large", lambda: large, session=session)
    assert spoken.kept_bytes == 90


async def test_what_was_asked_is_forgotten(threads: Threads, maker: Maker) -> None:
    """Of thousands of clauses that nobody else says, the oldest are forgotten."""
    spoken = Spoken(threads, asked=2)
    for clause in ("a", "b", "c"):
        await spoken.get(clause, maker.of(clause), session=1)
    for clause in ("c", "b", "a"):
        await spoken.get(clause, maker.of(clause), session=2)
    assert spoken.kept_bytes == len(b"c 2" + b"b 2")  # "a" is a first time again


async def test_sessions_on_loops_of_their_own(threads: Threads, maker: Maker) -> None:
    """They share it all the same: rooms may each have a thread with a loop."""
    spoken = Spoken(threads)

    def elsewhere(session: int) -> bytes:
        return asyncio.run(spoken.get("Hello.", maker.of("Hello."), session=session))

    async with asyncio.TaskGroup() as tasks:
        said = [tasks.create_task(asyncio.to_thread(elsewhere, session)) for session in range(8)]
    assert {task.result() for task in said} <= {b"Hello. 1", b"Hello. 2"}
    assert maker.made["Hello."] <= 2
    assert await spoken.get("Hello.", maker.of("Hello."), session=9) == said[-1].result()


async def test_closed_threads_leave_nobody_waiting(maker: Maker) -> None:
    """Who waits fails, and so does who asks then."""
    threads = Threads(1)
    spoken = Spoken(threads)
    async with occupied(threads):
        waiting = asyncio.create_task(spoken.get("Hello.", maker.of("Hello."), session=1))
        await asyncio.sleep(0)
        closing_them = asyncio.create_task(asyncio.to_thread(threads.close))
        with pytest.raises(RuntimeError, match="closed"):
            await waiting
    await closing_them
    with pytest.raises(RuntimeError):
        await spoken.get("Hello.", maker.of("Hello."), session=1)
