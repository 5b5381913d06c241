"""How calls end when the process is asked to stop."""

from __future__ import annotations

import anyio
import pytest

from agent.stopping import Stopping, Stops, end_calls, until_started


class Calls:
    """Some calls, and what was done to them."""

    def __init__(self, held: int, *, leave_at: str = "") -> None:
        self.held = held
        self.leave_at = leave_at
        self.told: list[str] = []

    def tell(self, what: str) -> None:
        """Note a wish; the calls end if it is the one that they follow."""
        self.told.append(what)
        if what == self.leave_at:
            self.held = 0

    async def end(self, stopping: Stopping, *, timeout: float = 0.4) -> None:  # noqa: ASYNC109
        """End them."""
        await end_calls(
            stopping,
            held=lambda: self.held,
            goodbye=lambda: self.tell("goodbye"),
            cut=lambda: self.tell("cut"),
            timeout=timeout,
            farewell=0.1,
        )


async def test_calls_that_end_by_themselves_are_left_alone() -> None:
    """There is time: nobody is told anything."""
    calls, stopping = Calls(1), Stopping()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: calls.end(stopping, timeout=600))
        await anyio.wait_all_tasks_blocked()
        calls.held = 0
    assert calls.told == []


@pytest.mark.parametrize(("leave_at", "told"), [("goodbye", 1), ("cut", 2), ("", 2)])
async def test_calls_are_said_goodbye_to_and_then_cut_off(leave_at: str, told: int) -> None:
    """Those that are still there when their time is over."""
    calls = Calls(1, leave_at=leave_at)
    await calls.end(Stopping())
    assert calls.told == ["goodbye", "cut"][:told]


async def test_at_once_is_without_a_goodbye() -> None:
    """Whatever time there was."""
    calls, stopping = Calls(1, leave_at="cut"), Stopping()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: calls.end(stopping, timeout=600))
        await anyio.wait_all_tasks_blocked()
        stopping.now.set()
    assert calls.told == ["cut"]


def test_a_worker_names_the_events_it_has() -> None:
    """Python 3.11 writes the parameter's type into what is made so: it must be able to try."""
    stops = Stops[str](goodbye="goodbye", now="now")
    assert (stops.goodbye, stops.now) == ("goodbye", "now")


async def test_a_start_is_given_up_when_asked_to_stop() -> None:
    """Before it has started there is nothing to drain; afterwards it goes on."""
    stopping, reached = Stopping(), False
    async with until_started(stopping):
        stopping.drain.set()
        await anyio.sleep(600)
        reached = True
    assert not reached
    stopping = Stopping()
    async with until_started(stopping) as started:
        started()
        stopping.drain.set()
        await anyio.wait_all_tasks_blocked()
        reached = True
    assert reached
